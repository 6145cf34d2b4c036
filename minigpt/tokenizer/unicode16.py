"""Which characters are letters and which are digits in Unicode 16. GPT-2's vocabulary was not made for later versions.

What counts as a letter depends on the version of Unicode. Hugging Face's tokenizers knows version 16. The characters
below became letters or digits in versions 17 and 18, which newer releases of the package regex know. Here they are
neither, as in tokenizers.
"""

SINCE_UNICODE_16 = (
    r"\u0558\u058b-\u058c\u088f\u0c5c\u0cdc\u208f\u209d-\u209f\ua7ce-\ua7cf\ua7d2\ua7d4\ua7dd-\ua7f1\uab6c-\uab6d"
    r"\U000107bb-\U000107bf\U00010940-\U00010959\U00010ec5-\U00010eee\U00011b0a\U00011db0-\U00011df1"
    r"\U0001246f-\U0001247f\U00012550-\U00012686\U00016ea0-\U00016ed3\U00016ff2-\U00016ff6\U000187f8-\U000187ff"
    r"\U00018cd6-\U00018cda\U00018d09-\U000191d2\U0001b123-\U0001b128\U0001b168\U0001d6a6\U0001df1f-\U0001df24"
    r"\U0001df2b-\U0001dfff\U0001e6c0-\U0001e6ff\U0002b73a-\U0002b73f\U0002b81e\U0002cea2-\U0002cead"
    r"\U000323b0-\U00033479\U0003d000-\U0003fc3f"
)
LETTER, NUMBER = rf"[\p{{L}}--[{SINCE_UNICODE_16}]]", rf"[\p{{N}}--[{SINCE_UNICODE_16}]]"
OTHER = rf"[[^\s\p{{L}}\p{{N}}]||[{SINCE_UNICODE_16}]]"
# A character that is part of a word, for special tokens with single_word: also marks and the underscore.
MARKS_SINCE_UNICODE_16 = (
    r"\u05c8-\u05c9\u0b53-\u0b54\u1acf-\u1af0\U00010ef0-\U00010efb\U00011b60-\U00011b67\U0001d127-\U0001d128"
    r"\U0001d250-\U0001d252\U0001d25b-\U0001d25c\U0001d25f\U0001d280-\U0001d281"
)
IN_WORD = rf"[\w--[{SINCE_UNICODE_16}{MARKS_SINCE_UNICODE_16}]]"
# What tokenizers' `Digits` cuts out: it asks a library that knows the digits of Unicode 17 already.
NUMERIC = rf"[{NUMBER}||[\U00011de0-\U00011de9\U00016ff4-\U00016ff6]]"
