"""Find unclear words in Markdown, docstrings, comments, help and descriptions. Exit code 1 if there is one.

Write the word on the right instead, or reword the sentence.
"""

import io
import re
import subprocess
import sys
import tokenize
from collections.abc import Iterator
from pathlib import Path

INSTEAD = {
    r"mend(s|ed|ing)?": "fix, correct",
    r"what (came|comes|became|becomes) of": "the result of",
    r"(lets?|letting|comes?|came) in": "accept, store",
    r"(keeps?|kept) (\w+ ){1,3}out": "discard, refuse",
    r"turn(s|ed)? (\w+ )?away": "refuse",
    r"who(m|ever|mever)|(some|any|no)body": "the caller, the user, another request",
    r"whatever|wherever|however often": "any, regardless of",
    r"the (latter|former)": "the noun",
    r"besides?": "next to, with, also",
    r"in (the|its|their) place of": "instead of",
    r"from (here|then|now|that moment) on": "after that",
    r"for ever|in vain|of no use": "permanently, without effect",
    r"of (ours|yours|theirs)|(by|for) (itself|themselves)": "our, your, separately",
    r"as (it|they) stands?": "unchanged",
    r"(stands?|stood|lies|lay) (beside|under|behind|outside)": "is next to, is below",
    r"glances?|goes? off|look again|the way in": "the technical name",
    r"(?<!there )(is|are|was|were) no (?!longer|more|less|one\b)\w+": "is not a …",
}
ALL = "|".join(rf"(?P<r{index}>\b(?:{pattern})\b)" for index, pattern in enumerate(INSTEAD))
FOUND = re.compile(ALL, re.IGNORECASE)
HELP = re.compile(r"^.*?## |^.*?Description: (?!>)|^\s*# ")


def python(text: str) -> Iterator[tuple[int, str]]:
    """Yield the docstrings and comments, line by line, with their line numbers."""
    before = tokenize.NEWLINE
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == tokenize.COMMENT:
            yield token.start[0], token.string
        elif token.type == tokenize.STRING and before in (tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT):
            yield from enumerate(token.string.split("\n"), token.start[0])
        if token.type not in (tokenize.NL, tokenize.COMMENT):
            before = token.type


def lines(path: Path) -> Iterator[tuple[int, str]]:
    """Yield the prose of a file, line by line, with the line numbers."""
    text = path.read_text()
    if path.suffix == ".py":
        yield from python(text)
    elif path.suffix == ".md":
        text = re.sub(
            r"^( *)```.*?^\1```$", lambda block: "\n" * block[0].count("\n"), text, flags=re.MULTILINE | re.DOTALL
        )
        yield from enumerate(text.split("\n"), 1)
    else:
        yield from ((number, line) for number, line in enumerate(text.split("\n"), 1) if HELP.match(line))


def main() -> int:
    listed = ["git", "ls-files", "*.md", "*.py", "template.yaml", "Makefile"]
    names = subprocess.run(listed, capture_output=True, text=True, check=True).stdout.split()
    findings = 0
    for path in map(Path, names):
        for number, line in lines(path):
            for found in FOUND.finditer(re.sub(r"`[^`]*`", "CODE", line)):
                instead = next(INSTEAD[pattern] for index, pattern in enumerate(INSTEAD) if found[f"r{index}"])
                print(f"{path}:{number}: “{found[0]}”; plainer: {instead}")
                findings += 1
    return int(findings > 0)


if __name__ == "__main__":
    sys.exit(main())
