<?php

/** Collects events, and sends them. `$refused` and `$warnings` are pairs of an event and what the API says of it. */
class Sender
{
    public array $events = [];
    public array $refused = [];
    public array $warnings = [];

    public function add(array $user, array $event): void
    {
        $now = (new DateTimeImmutable('now', new DateTimeZone('UTC')))->format('Y-m-d\TH:i:s.v\Z');
        $this->events[] = ['eventId' => bin2hex(random_bytes(16)), 'eventTime' => $now, 'user' => $user, 'event' => $event];
    }

    /** Sends the events. Those that could not be sent stay in `$events`. Throws InvalidArgumentException if the batch is wrong. */
    public function flush(int $attempts = 5): void
    {
        while ($this->events && $attempts) {
            $batch = array_slice($this->events, 0, 100);
            [$status, $seconds, $content] = post(['events' => $batch]);
            $results = json_decode($content, true)['results'] ?? null;
            $failed = [];
            if ($results) {
                foreach ($results as $number => $result) {
                    if ($result['status'] === 'failed') {
                        $failed[] = $batch[$number];
                    } elseif ($result['status'] === 'refused') {
                        $this->refused[] = [$batch[$number], $result['errors']];
                    } elseif ($result['warnings'] ?? []) {
                        $this->warnings[] = [$batch[$number], $result['warnings']];
                    }
                }
            } elseif (in_array($status, [0, 429, 500, 503], true)) {
                $failed = $batch;
            } else {
                throw new InvalidArgumentException($content);
            }
            $this->events = [...$failed, ...array_slice($this->events, count($batch))];
            if ($failed) {
                $attempts--;
                sleep($seconds);
            }
        }
    }
}

/** Returns the status (0: no response), the seconds to wait before another attempt, and the body. */
function post(array $batch): array
{
    $headers = ['Authorization: ' . getenv('API_KEY'), 'Content-Type: application/json'];
    $content = json_encode($batch, JSON_THROW_ON_ERROR);
    $request = ['method' => 'POST', 'header' => $headers, 'content' => $content, 'ignore_errors' => true, 'timeout' => 30];
    $answer = @fopen(getenv('API_URL') . '/events/', 'r', false, stream_context_create(['http' => $request]));
    if (!$answer) {
        return [0, 1, ''];
    }
    $head = implode("\n", stream_get_meta_data($answer)['wrapper_data']);
    $find = fn (string $pattern) => preg_match($pattern, $head, $found) ? (int) $found[1] : null;
    return [$find('{^HTTP/\S+ (\d+)}') ?? 0, $find('/^Retry-After: *(\d+)/mi') ?? 1, stream_get_contents($answer)];
}

$sender = new Sender();
$sender->add(['email' => 'ana@example.com'], ['viewitem' => ['itemId' => 'SKU-1']]);
$sender->add(['email' => 'ana@example.com'], ['search' => ['query' => 'red shoes']]);
try {
    $sender->flush();
} finally {
    foreach ($sender->refused as [$event, $errors]) {
        echo "refused: {$event['eventId']} {$errors[0]['message']}\n";
    }
    foreach ($sender->warnings as [$event, $warnings]) {
        echo "warning: {$event['eventId']} {$warnings[0]['message']}\n";
    }
}
echo count($sender->events), " left\n";
