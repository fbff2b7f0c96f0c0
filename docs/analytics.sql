-- Makes the views users, events, orders and refunds of a DynamoDB export: docs/analytics.md.
--
-- The export lies in the folder export/, or in the one that the variable `export` names. It is one full export, to
-- which incremental ones may be added; the newest image of an item counts.
--
-- Times are in UTC. Amounts are exact: sums have 38 digits, 9 of them after the point. Every view has the account as
-- its first column: a question that does not name it mixes the customers of all accounts.

SET VARIABLE export = coalesce(getvariable('export'), 'export');

-- Only names and sizes are read here. A partition without items is a file without bytes, which is no gzip.
SET VARIABLE files = (
    SELECT CASE
        WHEN count(*) = 0 THEN error('No export is in ' || getvariable('export') || '.')
        WHEN count(DISTINCT nullif(regexp_extract(filename, 'AWSDynamoDB[/\\]([^/\\]+)[/\\]data', 1), '')) > 1
            THEN error('More than one full export is in ' || getvariable('export') || '. Keep the newest.')
        ELSE list(filename)
    END
    FROM read_blob(getvariable('export') || '/**/*.gz')
    WHERE size > 0
);

-- The value of a field of a payload as text: a text, a number with all its digits, true or false. Else NULL.
CREATE OR REPLACE MACRO pointer(name) AS '/' || replace(replace(name, '~', '~0'), '/', '~1');
CREATE OR REPLACE MACRO field(payload, name) AS coalesce(
    payload ->> (pointer(name) || '/S'), payload ->> (pointer(name) || '/N'), payload ->> (pointer(name) || '/BOOL')
);

-- Servers nest some fields under `generic`, browsers send them flat.
CREATE OR REPLACE MACRO flat_or_generic(payload, name) AS
    coalesce(field(payload, name), field(payload -> '/generic/M', name));

-- The number that the service counts: of 10^15 and more, and of other texts, NULL; rounded to 9 decimals, half to even.
-- Its digits are `significant`, without zeros around them, the last of which is the decimal number `places`.
CREATE OR REPLACE MACRO number_in(text) AS regexp_extract(
    text, '^[\s\x0B\x1C-\x1F]*([+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)[\s\x0B\x1C-\x1F]*$', 1
);
CREATE OR REPLACE MACRO digits(number) AS replace(regexp_extract(number, '[\d.]+'), '.', '');
CREATE OR REPLACE MACRO significant(number) AS regexp_replace(digits(number), '^0+|0+$', '', 'g');
CREATE OR REPLACE MACRO places(number) AS if(
    significant(number) = '',
    0,
    length(regexp_extract(number, '\.(\d*)', 1))
        - coalesce(try_cast(regexp_extract(number, '[eE](.*)', 1) AS BIGINT), 0)
        - length(regexp_extract(digits(number), '0*$'))
);
-- DuckDB rounds half away from zero, so a tie is a matter of the digit before it.
CREATE OR REPLACE MACRO rounded(kept, dropped) AS kept
    + (dropped > '5' OR (dropped = '5' AND kept % 2 = 1))::HUGEINT;
CREATE OR REPLACE MACRO billionths(number) AS rounded(
    coalesce(
        try_cast(left(significant(number), greatest(length(significant(number)) - places(number) + 9, 0)::INT) AS HUGEINT),
        0
    ),
    if(
        length(significant(number)) < places(number) - 9,
        '',
        right(significant(number), least(length(significant(number)), places(number) - 9)::INT)
    )
);
CREATE OR REPLACE MACRO amount(text) AS CASE
    WHEN length(significant(number_in(text))) - places(number_in(text)) > 15 THEN NULL
    WHEN places(number_in(text)) <= 9 THEN try_cast(number_in(text) AS DECIMAL(38, 9))
    ELSE try_cast(
        regexp_extract(number_in(text), '^-')
            || regexp_replace(lpad(billionths(number_in(text))::VARCHAR, 25, '0'), '(.{9})$', '.\1')
        AS DECIMAL(38, 9)
    )
END;

-- What the table holds of each user, without what an incremental export says was deleted.
CREATE OR REPLACE TABLE items AS
SELECT split_part(pk, '#', 1) AS account, split_part(pk, '#', 3) AS userId, sk, item
FROM (
    SELECT
        coalesce(Item, Keys) ->> '/pk/S' AS pk,
        coalesce(Item, Keys) ->> '/sk/S' AS sk,
        arg_max_null(coalesce(Item, NewImage), coalesce((Metadata ->> '/WriteTimestampMicros/N')::BIGINT, 0)) AS item
    FROM read_json(
        getvariable('files'),
        format = 'newline_delimited',
        columns = {Item: 'JSON', Keys: 'JSON', NewImage: 'JSON', Metadata: 'JSON'}
    )
    GROUP BY ALL
)
WHERE split_part(pk, '#', 2) = 'USER' AND item IS NOT NULL;

-- A profile without createdOn is of a user who is being erased.
CREATE OR REPLACE VIEW users AS
SELECT
    account,
    userId AS id,
    item ->> '/email/S' AS email,
    (item ->> '/createdOn/S')::TIMESTAMP AS createdOn,
    coalesce((item ->> '/numberOfPurchases/N')::BIGINT, 0) AS numberOfPurchases,
    coalesce((item ->> '/totalPurchasesValue/N')::DECIMAL(38, 9), 0) AS totalPurchasesValue,
    (item ->> '/lastPurchaseDate/S')::TIMESTAMP AS lastPurchaseDate,
    coalesce((item ->> '/numberOfRefunds/N')::BIGINT, 0) AS numberOfRefunds,
    coalesce((item ->> '/totalRefundsValue/N')::DECIMAL(38, 9), 0) AS totalRefundsValue,
    (item ->> '/lastRefundDate/S')::TIMESTAMP AS lastRefundDate,
    (item ->> '/lastEmailOpenDate/S')::TIMESTAMP AS lastEmailOpenDate,
    item -> '/attributes/M' AS attributes,
    list_sort(json_keys(item -> '/tags/M')) AS tags
FROM items
WHERE sk = 'PROFILE' AND (item -> '/createdOn') IS NOT NULL;

-- When an event happened is in the first 48 bits of the UUID in its key. An event that has ended by the time of the
-- query is left out, whether or not DynamoDB had deleted it.
CREATE OR REPLACE VIEW events AS
SELECT
    account,
    userId,
    coalesce(item ->> '/id/S', substr(sk, 7)) AS id,
    item ->> '/type/S' AS type,
    epoch_ms(('0x' || substr(sk, 7, 8) || substr(sk, 16, 4))::BIGINT) AS createdOn,
    (item ->> '/receivedOn/S')::TIMESTAMP AS receivedOn,
    list_sort(list_distinct(item ->> '$.warningCodes.L[*].S')) AS warnings,
    coalesce((item ->> '/imported/BOOL')::BOOLEAN, false) AS imported,
    item -> '/payload/M' AS payload
FROM items
WHERE
    sk LIKE 'EVENT#%'
    AND (account, userId) IN (SELECT (account, id) FROM users)
    AND coalesce((item ->> '/expiresAt/N')::BIGINT > epoch(now()), true);

-- One row for each order. `total` is NULL where the service could not count what was sent, which is in `sentTotal`.
CREATE OR REPLACE VIEW orders AS
SELECT
    account,
    regexp_replace(flat_or_generic(payload, 'orderId'), '^[\s\pZ]+|[\s\pZ]+$', '', 'g') AS orderId,
    userId,
    id AS eventId,
    createdOn,
    amount(flat_or_generic(payload, 'total')) AS total,
    flat_or_generic(payload, 'total') AS sentTotal,
    flat_or_generic(payload, 'currency') AS currency,
    flat_or_generic(payload, 'status') AS status,
    (payload -> '/items/L')::JSON[] AS items,
    warnings
FROM events
WHERE type = 'confirmation';

-- One row for each refund. `total` is NULL where the service could not count what was sent, which is in `sentTotal`.
CREATE OR REPLACE VIEW refunds AS
SELECT
    account,
    regexp_replace(flat_or_generic(payload, 'refundId'), '^[\s\pZ]+|[\s\pZ]+$', '', 'g') AS refundId,
    regexp_replace(flat_or_generic(payload, 'orderId'), '^[\s\pZ]+|[\s\pZ]+$', '', 'g') AS orderId,
    userId,
    id AS eventId,
    createdOn,
    amount(flat_or_generic(payload, 'total')) AS total,
    flat_or_generic(payload, 'total') AS sentTotal,
    flat_or_generic(payload, 'currency') AS currency,
    flat_or_generic(payload, 'reason') AS reason,
    (payload -> '/items/L')::JSON[] AS items,
    warnings
FROM events
WHERE type = 'refund';
