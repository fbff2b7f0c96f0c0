<?php

/** Returns "created" or "discarded". Throws InvalidArgumentException if the request is wrong. */
function sendEvent(array $user, array $event, int $attempts = 5): string
{
    $key = bin2hex(random_bytes(16));
    $headers = ['Authorization: ' . getenv('API_KEY'), 'Content-Type: application/json', "Idempotency-Key: $key"];
    $content = json_encode(['user' => $user, 'event' => $event], JSON_THROW_ON_ERROR);
    $request = ['method' => 'POST', 'header' => $headers, 'content' => $content, 'ignore_errors' => true, 'timeout' => 30];
    for ($attempt = 1; $attempt <= $attempts; $attempt++) {
        $answer = @fopen(getenv('API_URL') . '/event/', 'r', false, stream_context_create(['http' => $request]));
        $head = $answer ? implode("\n", stream_get_meta_data($answer)['wrapper_data']) : '';
        $find = fn (string $pattern) => preg_match($pattern, $head, $found) ? $found[1] : null;
        $status = (int) $find('{^HTTP/\S+ (\d+)}');
        if ($status === 200) {
            foreach (json_decode(stream_get_contents($answer), true)['warnings'] ?? [] as $warning) {
                fwrite(STDERR, "warning: {$warning['field']} {$warning['message']}\n");
            }
            return $find('/^X-Event-Status: *(\w+)/mi');
        }
        if ($answer && $status < 500 && $status !== 429) {
            throw new InvalidArgumentException(stream_get_contents($answer));
        }
        if ($attempt < $attempts) {
            sleep((int) ($find('/^Retry-After: *(\d+)/mi') ?? 1));
        }
    }
    throw new RuntimeException('The event was not sent');
}

echo sendEvent(['email' => 'ana@example.com'], ['viewitem' => ['itemId' => 'SKU-1']]), "\n";
