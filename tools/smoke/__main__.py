"""Test a deployed API from outside, as a caller uses it: `make smoke API_URL=... API_KEY=...`.

It sends the documented requests, and those that only a real gateway answers fully, with new users that it erases at
the end. It prints each check, and exits with 1 if one failed. API_URL is the output ApiUrl of the stack. API_KEY is a
key of an account for such tests. BURST, a number of requests, tests the rate limit as well. It needs only Python.
"""

import http.client
import os
import sys
from collections.abc import Iterator

from tools.smoke.caller import Api, Check, CheckFailed
from tools.smoke.checks import all_checks


def main() -> int:
    url, key, burst = (os.environ.get(name, "").strip() for name in ("API_URL", "API_KEY", "BURST"))
    if not url or not key:
        print("Name the API: make smoke API_URL=... API_KEY=...", file=sys.stderr)
        return 1
    if not key.isascii() or not key.isprintable():
        print("API_KEY has a character that no key has. Copy the key again.", file=sys.stderr)
        return 1
    api = Api(url.rstrip("/"), key)
    failed = 0
    for result, check, note in outcomes(api, all_checks(int(burst or 0))):
        failed += result == "FAILED"
        print(f"{result:8} {check.promise}{': ' if note else ''}{note}", flush=True)
    print(f"\n{failed or 'Nothing'} did not hold." if failed else "\nEverything held.")
    return 1 if failed else 0


def outcomes(api: Api, checks: list[Check]) -> Iterator[tuple[str, Check, str]]:
    """Yield for each check: held, differs (a known difference of the emulator) or FAILED, the check, and details."""
    for check in checks:
        try:
            note = check.run(api)
            yield "held", check, note or ""
        except (CheckFailed, OSError, http.client.HTTPException, LookupError, TypeError) as error:
            why = str(error) if isinstance(error, CheckFailed) else f"{type(error).__name__}: {error}"
            if check.emulator and not api.on_aws:
                yield "differs", check, check.emulator
            else:
                yield "FAILED", check, why


if __name__ == "__main__":
    sys.exit(main())
