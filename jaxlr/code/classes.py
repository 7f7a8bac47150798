"""The classes in a text that hold settings or a function of the epoch, read as syntax."""

import ast
import copy
from collections.abc import Sequence

from jaxlr.code.builders import Substitution, body_for_call, outside_changes
from jaxlr.code.syntax import names_stored, nodes_in, source_of


def constants_of(definition: ast.ClassDef) -> ast.Dict | None:
    """Return the attributes that a class sets in its body as a mapping, or None if it has a constructor.

    It is also None if a condition or a loop in the body changes one of them.
    """
    found: dict[str, ast.expr] = {}
    changed: set[str] = set()
    for statement in definition.body:
        match statement:
            case (
                ast.Assign(targets=[ast.Name(id=name)], value=value)
                | ast.AnnAssign(target=ast.Name(id=name), value=ast.expr() as value)
            ):
                found[name] = Substitution(found).visit(copy.deepcopy(value))
            case ast.FunctionDef(name="__init__" | "__new__" | "__post_init__" | "__getattr__"):
                return None
            case ast.FunctionDef() | ast.ClassDef():
                pass
            case _:
                changed |= names_stored([statement])
    keys: list[ast.expr | None] = [ast.Constant(name) for name in found]
    return ast.Dict(keys, [*found.values()]) if found and not found.keys() & changed else None


def own_classes(statements: Sequence[ast.stmt]) -> dict[str, ast.ClassDef]:
    """Return the classes of a text of whose objects no other statement sets an attribute."""
    classes = [each for each in statements if isinstance(each, ast.ClassDef)]
    names = [each.name for each in classes]
    found: dict[str, ast.ClassDef] = {}
    for each in classes:
        others = [one for one in statements if one is not each]
        read = {e.attr for e in ast.walk(each) if isinstance(e, ast.Attribute)}
        is_set = any(
            isinstance(e, ast.Attribute) and not isinstance(e.ctx, ast.Load) and e.attr in read
            for e in nodes_in(others)
        )
        if not is_set and names.count(each.name) == 1 and each.name not in names_stored(others):
            found[each.name] = each
    return found


def method_of(definition: ast.ClassDef, call: ast.Call, name: str) -> ast.FunctionDef | None:
    """Return a method of the object that a call makes as a function, which first sets its attributes.

    It is None if the class has bases or decorators, or if a method besides the constructor sets attributes.
    """
    methods = {each.name: each for each in definition.body if isinstance(each, ast.FunctionDef)}
    start, method = methods.pop("__init__", None), methods.get(name)
    changes = [outside_changes(each) for each in methods.values()]
    bases = [each for each in definition.bases if source_of(each) != "object"]
    decorators = [e for each in methods.values() for e in each.decorator_list]
    if any(source_of(each) != "staticmethod" for each in [*decorators, *definition.decorator_list]):
        return None
    if method is None or bases or any(each.names or each.owners or each.arguments for each in changes):
        return None
    constants = [each for each in definition.body if isinstance(each, ast.Assign)]
    own = [ast.Assign([_own_attribute(each) for each in one.targets], one.value) for one in constants]
    made = [] if start is None else body_for_call(without_self(start), call)
    helpers = [without_self(each) for each in methods.values() if each is not method]
    bound = without_self(method)
    bound.body = [*(ast.copy_location(each, call) for each in own), *made, *helpers, *bound.body]
    return bound


def _own_attribute(target: ast.expr) -> ast.expr:
    is_name = isinstance(target, ast.Name)
    return ast.Attribute(ast.Name("self", ast.Load()), target.id, ast.Store()) if is_name else target


def without_self(method: ast.FunctionDef) -> ast.FunctionDef:
    """Return a method as a function with the name by which the methods call each other."""
    arguments = copy.copy(method.args)
    if arguments.args and arguments.args[0].arg == "self":
        arguments.args = arguments.args[1:]
    function = ast.FunctionDef(f"self.{method.name}", arguments, method.body, method.decorator_list)
    return ast.copy_location(function, method)
