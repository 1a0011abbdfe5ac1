"""Values from a seed, as Proton encodes them: a line each, the bytes and what they stand for.

    python encodings_of_proton.py > crates/amqp-types/tests/vectors/proton.txt

Of numbers and texts the line has the type and the bits; a list is (a b), a map {k v}, an array <a b>, and what is
described @ with its descriptor before it."""
import random
import struct
import sys
import uuid

from proton import (
    UNDESCRIBED, Array, Data, Described, byte, char, decimal32, decimal64, decimal128, float32, int32, short, symbol,
    timestamp, ubyte, uint, ulong, ushort,
)

# By type: how many bits, and how a value is made of them.
UNSIGNED = {"ubyte": (8, ubyte), "ushort": (16, ushort), "uint": (32, uint), "ulong": (64, ulong)}
SIGNED = {"byte": (8, byte), "short": (16, short), "int": (32, int32), "long": (64, int), "timestamp": (64, timestamp)}
ARRAYS = {"ubyte": Data.UBYTE, "uint": Data.UINT, "ulong": Data.ULONG, "int": Data.INT, "long": Data.LONG,
          "string": Data.STRING, "symbol": Data.SYMBOL, "binary": Data.BINARY, "uuid": Data.UUID}


def number(dice, bits):
    return dice.choice([0, 1, 127, 128, 255, 256, 2**bits - 1, 2**bits - 128, 2**bits - 129, dice.getrandbits(bits)]) % 2**bits


def text(dice, letters):
    return "".join(dice.choice(letters) for _ in range(dice.choice([0, 1, 5, 90, 255, 256])))


def scalar(dice, kind):
    """A value, and its line."""
    if kind in UNSIGNED:
        bits, make = UNSIGNED[kind]
        value = number(dice, bits)
        return make(value), f"{kind}:{value}"
    if kind in SIGNED:
        bits, make = SIGNED[kind]
        value = number(dice, bits)
        value = value - 2**bits if value >= 2**(bits - 1) else value
        return make(value), f"{kind}:{value}"
    if kind == "bool":
        value = dice.choice([True, False])
        return value, f"bool:{str(value).lower()}"
    if kind == "float":
        value = dice.choice([0.0, -1.5, 3e38])
        return float32(value), f"float:{struct.pack('>f', value).hex()}"
    if kind == "double":
        value = dice.choice([0.0, -1.5, 1e300])
        return value, f"double:{struct.pack('>d', value).hex()}"
    if kind == "char":
        value = dice.choice("aß€𝄞")
        return char(value), f"char:{ord(value)}"
    if kind.startswith("decimal"):
        size = int(kind[7:]) // 8
        value = dice.randbytes(size)
        make = {4: decimal32, 8: decimal64}.get(size)
        return make(int.from_bytes(value, "big")) if make else decimal128(value), f"decimal:{value.hex()}"
    if kind == "uuid":
        value = uuid.UUID(bytes=dice.randbytes(16))
        return value, f"uuid:{value.hex}"
    if kind == "binary":
        value = dice.randbytes(dice.choice([0, 1, 255, 256]))
        return value, f"binary:{value.hex()}"
    if kind == "string":
        value = text(dice, "aß€𝄞")
        return value, f"string:{value.encode().hex()}"
    if kind == "symbol":
        value = text(dice, "aZ:-")
        return symbol(value), f"symbol:{value.encode().hex()}"
    return None, "null"


KINDS = [*UNSIGNED, *SIGNED, "bool", "float", "double", "char", "decimal32", "decimal64", "decimal128", "uuid", "binary",
         "string", "symbol", "null"]


def value(dice, depth):
    kind = dice.choice([*KINDS, *(["list", "map", "array", "described"] * 4 if depth else [])])
    if kind == "list":
        items = [value(dice, depth - 1) for _ in range(dice.randrange(4))]
        return [item for item, _ in items], f"({' '.join(line for _, line in items)})"
    if kind == "map":
        # Keys of one type are those that differ as they are written too.
        items = {scalar(dice, "symbol"): value(dice, depth - 1) for _ in range(dice.randrange(4))}
        lines = " ".join(f"{key[1]} {item[1]}" for key, item in items.items())
        return {key[0]: item[0] for key, item in items.items()}, f"{{{lines}}}"
    if kind == "array":
        kind = dice.choice([*ARRAYS])
        items = [scalar(dice, kind) for _ in range(1 + dice.randrange(4))]
        return Array(UNDESCRIBED, ARRAYS[kind], *(item for item, _ in items)), f"<{' '.join(line for _, line in items)}>"
    if kind == "described":
        descriptor, item = scalar(dice, dice.choice(["ulong", "symbol"])), value(dice, depth - 1)
        return Described(descriptor[0], item[0]), f"@{descriptor[1]} {item[1]}"
    return scalar(dice, kind)


def shown(value):
    """The line of a value that Proton has read."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return f"bool:{str(value).lower()}"
    if isinstance(value, (dict, list, Array)):
        items = [item for pair in value.items() for item in pair] if isinstance(value, dict) else value
        opening, closing = {dict: "{}", list: "()"}.get(type(value), "<>")
        return f"{opening}{' '.join(shown(item) for item in items)}{closing}"
    if isinstance(value, Described):
        return f"@{shown(value.descriptor)} {shown(value.value)}"
    if isinstance(value, (bytes, memoryview)):
        return f"binary:{bytes(value).hex()}"
    if isinstance(value, str):
        return f"{'symbol' if isinstance(value, symbol) else 'string'}:{value.encode().hex()}"
    if isinstance(value, float):
        is_single = isinstance(value, float32)
        return f"{'float' if is_single else 'double'}:{struct.pack('>f' if is_single else '>d', value).hex()}"
    names = {int: "long", int32: "int"}
    return f"{names.get(type(value), type(value).__name__)}:{int(value)}"


def lines():
    dice = random.Random(1)
    for index in range(200):
        item, line = value(dice, index % 4)
        data = Data()
        data.put_object(item)
        yield f"{data.encode().hex()} {line}"


if __name__ == "__main__":
    sys.stdout.writelines(f"{line}\n" for line in lines())
