"""What members read when they reply to a picture and it does not become a remix at once."""

from __future__ import annotations

NO_PICTURE_YET = "That picture isn't finished yet: reply to it when it is."
NO_PICTURE_THERE = "That message has no picture that I could start from."
HIDDEN_PICTURE = (
    "I can't see other people's pictures in replies here: "
    "press and hold (or right-click) the picture, then choose Apps → Remix."
)
HIDDEN_REPLY = "I can't read a reply that doesn't ping me: switch the @ on when you reply to a picture of mine."


def no_such_picture(number: int, numbers: list[int]) -> str:
    """`numbers` are those that there are, at least two."""
    return f"There is no picture #{number} in that message: say one of {', '.join(f'#{one}' for one in numbers)}."
