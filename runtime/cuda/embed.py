"""Prints a file as a C array:  embed.py FILE NAME"""

import sys

with open(sys.argv[1], "rb") as file:
    data = file.read()
print(f"extern const unsigned char {sys.argv[2]}[];\n_Alignas(16) const unsigned char {sys.argv[2]}[] = {{")
for at in range(0, len(data), 24):
    print(",".join(map(str, data[at:at + 24])) + ",")
print("};")
