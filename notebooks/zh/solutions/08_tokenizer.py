"""08_tokenizer.ipynb 的练习答案。"""

from collections import Counter
from itertools import pairwise


def most_frequent_pair(words):
    """{写成词元元组的单词：出现次数} -> 出现次数最多的相邻词元对。"""
    counts = Counter()
    for word, times in words.items():
        for pair in pairwise(word):
            counts[pair] += times  # 一个单词出现九次，它的词元对就各计九次
    return max(counts, key=counts.get)


def merge(ids, pair, new_id):
    """从左到右，把每一处 pair 换成 new_id。"""
    merged = []
    i = 0
    while i < len(ids):
        if tuple(ids[i : i + 2]) == pair:
            merged.append(new_id)
            i += 2  # 两个都用掉了：第二个不能再当另一对的开头
        else:
            merged.append(ids[i])
            i += 1
    return merged
