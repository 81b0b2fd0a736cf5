# SPDX-License-Identifier: MIT
"""python golden.py FILE: each golden message, read by construct and by its codec, is built again as it was."""

import sys

from remotec import protocol


def check(path: str) -> int:
    """How many messages were tried; AssertionError names the first that isn't as it was."""
    seen = 0
    with open(path) as lines:
        for line in lines:
            name, _, text = line.partition(": ")
            if name.startswith("#"):
                continue
            message = bytes.fromhex(text)
            header = protocol.Header.parse(message)
            payload = message[protocol.Header.sizeof() :]
            assert protocol.Header.build(header) + payload == message, name
            assert header.length == len(payload), name
            operation = protocol.OPERATIONS[header.operation]
            codec = operation.request if name.endswith("request") else operation.reply
            assert codec.layout.build(codec.layout.parse(payload)) == payload, name
            assert codec.build(*codec.parse(payload)) == payload, name
            seen += 1
    assert seen >= 2 * len(protocol.OPERATIONS)
    return seen


if __name__ == "__main__":
    print(sys.byteorder, check(sys.argv[1]))
