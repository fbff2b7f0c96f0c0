collect() { # the user, the event
  count=$((count + 1))
  echo "{\"eventId\": \"$(date +%s)-$$-$count\", \"eventTime\": \"$(date -u +%FT%TZ)\", \"user\": $1, \"event\": $2}" >> events.jsonl
}

send() { # sends a batch; prints the status and the seconds to wait
  curl --silent --show-error --max-time 30 --output answer.json --write-out '%{http_code} %header{retry-after}\n' \
    "$API_URL/events/" --header "Authorization: $API_KEY" --header "Content-Type: application/json" --data @batch.json || echo 000
}

collect '{"email": "ana@example.com"}' '{"viewitem": {"itemId": "SKU-1"}}'
collect '{"email": "ana@example.com"}' '{"search": {"query": "red shoes"}}'

echo "{\"events\": [$(head -n 100 events.jsonl | paste -s -d , -)]}" > batch.json
for attempt in 1 2 3 4 5; do
  read -r status seconds <<< "$(send | tail -n 1)"
  case $status in
    207) grep -q '"status": *"failed"' answer.json || break ;;
    000 | 429 | 500 | 503) ;;
    *) break ;;
  esac
  sleep "${seconds:-1}"
done
cat answer.json
test "$status" = 200 && tail -n +101 events.jsonl > later.jsonl && mv later.jsonl events.jsonl
