"""All subclasses of a class, at any depth."""


def subclasses(parent: type) -> set[type]:
    direct: set[type] = set(parent.__subclasses__())
    return direct.union(*(subclasses(child) for child in direct))
