curl --silent --show-error --fail-with-body --retry 4 --retry-connrefused --max-time 30 --dump-header - \
  "$API_URL/event/" \
  --header "Authorization: $API_KEY" \
  --header "Content-Type: application/json" \
  --header "Idempotency-Key: order-A-3001" \
  --data '{"user": {"email": "ana@example.com"}, "event": {"confirmation": {"orderId": "A-3001", "total": "59.90"}}}'
