"""Which characters Hugging Face's BERT tokenizer takes for accents, punctuation and control characters: by Unicode 8.

Hugging Face's tokenizers looks these three kinds up in a library that knows Unicode 8. The characters of the table came
later, or were of none of these kinds at that time, so they are ordinary parts of a word. Four characters have changed
their kind since then.
"""

SINCE_UNICODE_8 = (
    r"\u05c8-\u05c9\u061d\u07fd\u0890-\u08e2\u09fd-\u09fe\u0a76\u0afa-\u0aff\u0b53-\u0b55\u0c04-\u0c3c\u0c77\u0c84"
    r"\u0d00\u0d3b-\u0d3c\u0d81\u0eba\u0ece\u180f-\u1886\u1abf-\u1af0\u1b4e-\u1b4f\u1b7d-\u1b7f\u1df6-\u1dfb"
    r"\u2e43-\u2e63\ua82c\ua8c5\ua8ff\ua9bd\U00010d24-\U00010f89\U00011070-\U00011074\U000110c2-\U000110cd\U000111cf"
    r"\U0001123e-\U00011241\U0001133b\U000113bb-\U0001145e\U00011660-\U0001166c\U000116b9\U0001182f-\U00011fff"
    r"\U00012ff1-\U0001612f\U00016d6d-\U00016f4f\U00016fe2-\U00016fe4\U0001cf00-\U0001d128\U0001d25b-\U0001d25c"
    r"\U0001e000-\U0001e6f5\U0001e944-\U0001e95f"
)
ACCENT = rf"[[\p{{Mn}}--[{SINCE_UNICODE_8}\U000111c9]]||[\u1734\U0001171e]]"
PUNCTUATION = rf"[[\p{{P}}--[{SINCE_UNICODE_8}]]||[!-/:-@\[-`\{{-~\u166d\U000111c9]]"
CONTROL = rf"[[\p{{Cc}}\p{{Cf}}\p{{Co}}--[{SINCE_UNICODE_8}\t\n\r]]||\ufffd]"
