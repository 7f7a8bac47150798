"""Whole scripts: the function that constructs, such as `main`, in the place of its call."""

import ast
import re
from collections.abc import Collection, Iterable, Sequence

from jaxlr._checks import shorten
from jaxlr.code.builders import body_for_call
from jaxlr.code.classes import without_self
from jaxlr.code.syntax import calls_in, last_name, nodes_in, source_of


# The name of a scheduler, or of a function that makes one.
NAME_OF_SCHEDULER = re.compile(r"(LR|[Ss]cheduler)$|[Ww]arm_?[Uu]p")
# The tests that hold where a script is run.
IS_MAIN = ("__name__ == '__main__'", "'__main__' == __name__")
_CONSTRUCTOR = "self.__init__"
_MOST_LEVELS = 10  # of functions that call each other


def flattened(statements: Sequence[ast.stmt], known: Collection[str]) -> list[ast.stmt]:
    """Replace the function that constructs `known` classes by its statements.

    A script seldom constructs at its top. It does so in a `main`, in a method, or in functions that these
    call. A function whose result is used stays a function. One that the text does not call is read last.

    Raises:
        ValueError: several functions construct, and none of them calls the others.
    """
    result = [*statements]
    for _ in range(_MOST_LEVELS):
        found = _without_one(result, known)
        if found is None:
            break
        result = found
    return result


def _without_one(statements: Sequence[ast.stmt], known: Collection[str]) -> list[ast.stmt] | None:
    """Replace one function by its statements, or return None if none must be replaced."""
    top: list[ast.stmt] = []
    for each in statements:
        if isinstance(each, ast.If) and source_of(each.test) in IS_MAIN:
            top += each.body
        else:
            top.append(each)
    classes = [each for each in top if isinstance(each, ast.ClassDef) and not is_scheduler(each)]
    methods = {id(each): _methods(each) for each in classes}
    functions = [each for each in top if isinstance(each, ast.FunctionDef)]
    functions += [each for own in methods.values() for each in own]
    calls = {id(each): _calls(each.body) for each in functions}
    building = _building(functions, calls, known)
    names = {each.name for each in building}
    rest = [each for each in top if not isinstance(each, ast.FunctionDef | ast.ClassDef)]
    others = _calls(each for each in rest if _bare_call(each, names) is None)
    if not building or others & names or any(last_name(each) in known for each in others):
        return None
    root = _root(building, calls, [call for each in rest if (call := _bare_call(each, names))])
    owner = next((own for own in methods.values() if root in own), [])
    helpers = [each for each in owner if each in building and each is not root]
    others = [each for each in owner if each not in building]
    helpers += _passed(others, [each for one in (root, *helpers) for each in one.body])
    left = [
        each
        for each in top
        if each is not root and not any(method in building for method in methods.get(id(each), []))
    ]
    places = [index for index, each in enumerate(left) if _bare_call(each, {root.name})]
    if len(places) == 1:
        [place] = places
        body = _body(root, _bare_call(left[place], {root.name}))
        return [*helpers, *left[:place], *body, *left[place + 1 :]]
    before = [each for index, each in enumerate(left) if index not in places]
    makers = [one.name for one in classes if root.name == _CONSTRUCTOR and root in methods[id(one)]]
    made = [index for index, each in enumerate(before) if _calls([each]) & {*makers}]
    if len(made) == 1 and (call := _assigned_call(before[made[0]], makers)):
        return [*helpers, *before[: made[0]], *_body(root, call), *before[made[0] :]]
    return [*helpers, *before, *root.body]


def is_scheduler(definition: ast.ClassDef) -> bool:
    """Check if a class of the text is a scheduler with rates of its own, whatever it constructs."""
    if any(source_of(base).endswith("LRScheduler") for base in definition.bases):
        return True
    own = [each for each in definition.body if isinstance(each, ast.FunctionDef)]
    decides = any(
        each.name == "step" and any(isinstance(e, ast.If) for e in ast.walk(each)) for each in own
    )
    return bool(NAME_OF_SCHEDULER.search(definition.name)) and (
        decides or any(each.name == "get_lr" for each in own)
    )


def _building(
    functions: Sequence[ast.FunctionDef], calls: dict[int, set[str]], known: Collection[str]
) -> list[ast.FunctionDef]:
    """Return the functions that construct, and those that call them."""
    names = {
        each.name for each in functions if any(last_name(called) in known for called in calls[id(each)])
    }
    for _ in range(_MOST_LEVELS):
        names |= {each.name for each in functions if calls[id(each)] & names}
    return [each for each in functions if each.name in names]


def _root(
    building: Sequence[ast.FunctionDef], calls: dict[int, set[str]], bare: Sequence[ast.Call]
) -> ast.FunctionDef:
    """Return the function that calls the others."""
    inner = {name for each in building for name in calls[id(each)] - {each.name}}
    roots = [each for each in building if each.name not in inner]
    called = [each for each in roots if any(source_of(call.func) == each.name for call in bare)]
    roots = called or roots or building[:1]
    if len(roots) > 1:
        first, second = (repr(shorten(each.name.removeprefix("self."))) for each in roots[:2])
        raise ValueError(
            f"the text constructs in several functions, {first} and {second}: give the lines of one of them"
        )
    return roots[0]


def _body(root: ast.FunctionDef, call: ast.Call | None) -> list[ast.stmt]:
    """Return the statements of a function, with the arguments of a call as its variables."""
    if call is not None and not root.decorator_list:  # a decorator may give other arguments
        try:
            return body_for_call(root, call, keeps_names=True)
        except ValueError:
            pass  # an argument is missing, so its parameter is a name that `names` must give
    return root.body


def _methods(owner: ast.ClassDef) -> list[ast.FunctionDef]:
    """Return the methods of a class as functions with the names by which they call each other."""
    return [without_self(each) for each in owner.body if isinstance(each, ast.FunctionDef)]


def _passed(methods: Sequence[ast.FunctionDef], bodies: Sequence[ast.stmt]) -> list[ast.FunctionDef]:
    """Return the methods that statements pass on, such as `LambdaLR(opt, self.rule)`, and those in them."""
    lambdas = [each for each in nodes_in(bodies) if isinstance(each, ast.Lambda)]
    called = {id(call.func) for call in calls_in(bodies)} - {id(call.func) for call in calls_in(lambdas)}
    names = {source_of(e) for e in nodes_in(bodies) if isinstance(e, ast.Attribute) and id(e) not in called}
    found: list[ast.FunctionDef] = []
    while more := [each for each in methods if each.name in names and each not in found]:
        found += more
        names |= _calls(each for one in more for each in one.body)
    return [each for each in found if all(source_of(e) == "staticmethod" for e in each.decorator_list)]


def _bare_call(statement: ast.stmt, names: Collection[str]) -> ast.Call | None:
    """Return the call of one of the functions that is a whole statement, or None."""
    match statement:
        case ast.Expr(value=ast.Call() as call) if source_of(call.func) in names:
            return call
    return None


def _assigned_call(statement: ast.stmt, names: Collection[str]) -> ast.Call | None:
    """Return the call of one of the classes in `t = T(3)`, `T(3).fit()` or `s = T(3).s`, or None."""
    node = statement.value if isinstance(statement, ast.Assign | ast.Expr) else None
    while isinstance(node, ast.Attribute | ast.Call):
        if isinstance(node, ast.Call) and source_of(node.func) in names:
            return node
        node = node.func if isinstance(node, ast.Call) else node.value
    return None


def _calls(body: Iterable[ast.stmt]) -> set[str]:
    """Return the functions and methods that statements call, as the text writes them."""
    functions = (call.func for call in calls_in(body))
    return {source_of(each) for each in functions if isinstance(each, ast.Name | ast.Attribute)}
