"""Large tensors in large pages of memory, where the system has them on demand (Linux).

Memory is handed out in pages of 4 kB, and where each page lies has to be looked up: 120,000 times to read the weights
of the smallest GPT-2 once. Pages of 2 MB need 240 lookups, and memory is read up to twice as fast. torch asks for them
if this variable is set before it makes its first tensor. It keeps a value that is set already: 0 switches this off.
"""

import os

VARIABLE = "THP_MEM_ALLOC_ENABLE"

chosen_by_the_reader = VARIABLE in os.environ
os.environ.setdefault(VARIABLE, "1")
