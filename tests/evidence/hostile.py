"""Text that attacks a page, put into every text of a report."""

from typing import Any

HOSTILE = (
    "<script>window.pwned=1</script>",
    '"><img src=x onerror="window.pwned=1">',
    "</style><svg onload='window.pwned=1'><title></title></svg>",
    "</title></textarea></details><style>*{display:none}</style><link rel=stylesheet href=http://127.0.0.1:9/x>",
    "'--></desc></svg><iframe srcdoc='<script>parent.pwned=1</script>'></iframe><!--",
    "{{ 7 * 7 }}{% raw %}${7*7}$\\frac{1}{$",
    "invoice\u202egpj.exe\u2066\u200bzero\ufeff",
    "nul\x00 bell\x07 escape\x1b[31m c1\x85 lone\ud800 last\uffff",
    "javascript:window.pwned=1//url(http://127.0.0.1:9/y)@import 'http://127.0.0.1:9/z';",
    "Z̸̧̛͎̱̟͖̦̤a͂̾̓̐l̷͖g͟o " * 40,
    "x" * 1_000_000,
    "",
)
# Fields that are not text to show: tags and the kind of a plot choose code, a picture must be one, and a unit of
# "%" has a meaning.
KEPT = {"type", "kind", "uri", "unit", "x_unit", "y_unit"}


def poison(value: Any, count: list[int], keep: bool = False) -> Any:
    """Copy of a report's JSON in which every text to show is hostile, in turn."""
    if isinstance(value, dict):
        return {key: poison(inner, count, key in KEPT) for key, inner in value.items()}
    if isinstance(value, list):
        return [poison(inner, count) for inner in value]
    if isinstance(value, str) and not keep:
        count[0] += 1
        # The long one only now and then: hundreds of megabytes would test nothing more.
        chosen = HOSTILE[count[0] % len(HOSTILE)]
        return chosen if len(chosen) < 10_000 or count[0] % 60 == 10 else chosen[:300]
    return value
