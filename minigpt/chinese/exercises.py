"""What `check` says: its own sentences, and the tasks and hints of all exercises."""

from . import lesson_14, lessons_01_05, lessons_06_08, lessons_09_10, lessons_11_13

CHECKING = {
    "nothing came back yet. {task}": "还没有返回值。{task}",
    "the numbers are right, and torch's own {name} computed them. Write the formula out by hand.": (
        "数对了，不过是 torch 自带的 {name} 算的。请把公式一步步写出来。"
    ),
    "{difference} The input was\n{inputs}": "{difference}\n输入是\n{inputs}",
    "it raised {name}: {error}": "运行出错，{name}：{error}",
    "the shape is {shape}, expected {expected}.": "形状是 {shape}，应为 {expected}。",
    "the numbers are {dtype}, expected {expected}.": "数的类型是 {dtype}，应为 {expected}。",
    "the numbers differ by up to {largest:.2g}.": "数不对，最大相差 {largest:.2g}。",
    "the answer is of type {type}, expected {expected}.": "返回值的类型是 {type}，应为 {expected}。",
    "expected\n{expected}\ngot\n{got}\n": "应为\n{expected}\n得到\n{got}",
    "right for {done}; wrong for {left}. {case}: {hint}": "做对的：{done}；做错的：{left}。{case}：{hint}",
    "no case yet": "还没有",
    ", ": "、",
    "a small {name}": "一个小的 {name}",
    "a tensor of shape {shape}": "形状为 {shape} 的张量",
    "one token at a time: this exercise's model was handed {n}": "这一题的模型每次只读一个词元，这次却收到了 {n} 个",
}

TEXTS = (
    CHECKING | lessons_01_05.TEXTS | lessons_06_08.TEXTS | lessons_09_10.TEXTS | lessons_11_13.TEXTS | lesson_14.TEXTS
)
