"""Protobuf's wire format: how a field of a message begins whose content is bytes, text or another message."""

_LENGTH_DELIMITED = 2


def opening(number: int, length: int) -> bytes:
    """What stands before a field's content: its number and kind, and how many bytes follow."""
    return _varint(number << 3 | _LENGTH_DELIMITED) + _varint(length)


def _varint(value: int) -> bytes:
    groups = []
    while value > 0x7F:
        groups.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*groups, value])
