"""The words `./inv` knows: work on this machine. Work on servers is `./fab`."""

from invoke import Collection

import sandbox.tasks

namespace = Collection()
namespace.add_collection(Collection.from_module(sandbox.tasks), "sandbox")
