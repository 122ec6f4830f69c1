"""Guards of the engine, each with a way to break it, and the tests that have to notice."""

from __future__ import annotations

from typing import NamedTuple

FILES, CHECKPOINTS, LEARNING = (
    "tests/test_files.py",
    "tests/training/loop/test_checkpoints.py",
    "tests/training/loop/test_learning.py",
)
INTERRUPTS, UNFINISHED, KILLS = "tests/test_interrupts.py", "tests/test_unfinished.py", "tests/studies/test_kills.py"
RESUME, POWER, STUDIES = (f"tests/studies/test_{name}.py" for name in ("resume", "power_cut", "resumed_studies"))


class Mutant(NamedTuple):
    """A guard that is broken."""

    name: str
    file: str
    before: str
    """As it stands in the source, once."""
    after: str
    tests: tuple[str, ...]
    """Files that have to notice."""


MUTANTS = (
    Mutant(
        "the content of a file is not synced",
        "files.py",
        "            _write(descriptor, content)\n            os.fsync(descriptor)\n        draft.replace(path)",
        "            _write(descriptor, content)\n        draft.replace(path)",
        (FILES, CHECKPOINTS),
    ),
    Mutant(
        "the new name is not synced",
        "files.py",
        "        draft.replace(path)\n        _sync_names(path.parent)",
        "        draft.replace(path)",
        (FILES, CHECKPOINTS),
    ),
    Mutant(
        "the name changes before the content is synced",
        "files.py",
        "            os.fsync(descriptor)\n        draft.replace(path)\n",
        "            draft.replace(path)\n            os.fsync(descriptor)\n",
        (FILES, CHECKPOINTS),
    ),
    Mutant(
        "a file is written in its place",
        "files.py",
        'draft = path.with_name(path.name + ".draft")',
        "draft = path",
        (FILES,),
    ),
    Mutant(
        "a file that is new is not synced into its folder",
        "files.py",
        "    if is_new:\n        _sync_names(path.parent)\n",
        "",
        (FILES, POWER),
    ),
    Mutant(
        "a new folder is not synced",
        "files.py",
        "        _sync_names(folder.parent)",
        "        pass",
        (FILES, CHECKPOINTS),
    ),
    Mutant(
        "the length of a log is told before it is synced",
        "files.py",
        "        os.fsync(descriptor)\n        return os.fstat(descriptor).st_size",
        "        return os.fstat(descriptor).st_size",
        (FILES, POWER),
    ),
    Mutant(
        "the hash is written before what it is of",
        "training/loop/checkpoints.py",
        "        write_whole(path, content)\n        write_whole(_seal(path), _sealed(path, content))\n",
        "        write_whole(_seal(path), _sealed(path, content))\n        write_whole(path, content)\n",
        (CHECKPOINTS,),
    ),
    Mutant(
        "the hash is not looked at",
        "training/loop/checkpoints.py",
        "        if _seal(path).read_bytes() != _sealed(path, content):\n            return None\n",
        "",
        (CHECKPOINTS,),
    ),
    Mutant(
        "the hash does not say which file it is of",
        "training/loop/checkpoints.py",
        'return f"{hashlib.sha256(content).hexdigest()}  {path.name}\\n".encode()',
        "return hashlib.sha256(content).hexdigest().encode()",
        (CHECKPOINTS,),
    ),
    Mutant(
        "older checkpoints go before the new one is whole",
        "training/loop/checkpoints.py",
        "        write_whole(path, content)\n",
        "        for older in self._paths():\n            _remove(older)\n        write_whole(path, content)\n",
        (CHECKPOINTS,),
    ),
    Mutant(
        "rests of killed saves stay",
        "training/loop/checkpoints.py",
        "set(self.folder.iterdir()) - kept",
        "{each for path in self._paths()[KEPT:] for each in (path, _seal(path))}",
        (CHECKPOINTS,),
    ),
    Mutant("one checkpoint is kept", "training/loop/checkpoints.py", "KEPT = 2", "KEPT = 1", (CHECKPOINTS, RESUME)),
    Mutant(
        "the same random numbers in every step",
        "training/loop/gradient.py",
        'here.at("step", step)',
        'here.at("step", 0)',
        ("tests/training/loop/test_trainer.py",),
    ),
    Mutant(
        "the same random numbers in every epoch",
        "training/loop/trainer.py",
        'key.at("epoch", epoch)',
        'key.at("epoch", 0)',
        ("tests/training/loop/test_trainer.py",),
    ),
    Mutant(
        "random numbers count from where a process began",
        "training/loop/sources.py",
        "for step in range(first, first + len(left.indices))]",
        "for step in range(len(left.indices))]",
        (RESUME,),
    ),
    Mutant(
        "logs are not cut",
        "studies/carrying_out.py",
        'folder.cut_logs(kept.facts["logs"] if kept else {})',
        "",
        (KILLS,),
    ),
    Mutant(
        "the lock is let go at once",
        "files.py",
        "        _lock(descriptor, wait)\n",
        "        _lock(descriptor, wait)\n        fcntl.flock(descriptor, fcntl.LOCK_UN)\n",
        (FILES, UNFINISHED),
    ),
    Mutant(
        "children hold on to the lock",
        "files.py",
        "    os.register_at_fork(after_in_child=_let_go_of_locks)",
        "    pass",
        (FILES,),
    ),
    Mutant(
        "the state of the optimiser is not put back",
        "training/loop/learning.py",
        'self.optimizer.load_state_dict({"state": state, "param_groups": groups})',
        'self.optimizer.load_state_dict({"state": {}, "param_groups": groups})',
        (LEARNING, RESUME),
    ),
    Mutant(
        "the counts of a loss are not put back",
        "training/loop/learning.py",
        '        self.objective.load_state_dict(room(tensors, "objective"))\n',
        "",
        (LEARNING,),
    ),
    Mutant(
        "the average is not put back",
        "training/loop/learning.py",
        '            self.average.load_state_dict(room(tensors, "average"))\n',
        "            pass\n",
        (LEARNING, RESUME),
    ),
    Mutant(
        "an epoch begins anew",
        "training/loop/trainer.py",
        "order, here, epoch, position.step)",
        "order, here, epoch, 0)",
        (RESUME,),
    ),
    Mutant(
        "a signal does not wait for the end of a step",
        "interrupts.py",
        "    if _held == 0:\n        raise Interrupted(number)\n",
        "    raise Interrupted(number)\n",
        (INTERRUPTS, KILLS),
    ),
    Mutant(
        "nothing is kept at a signal",
        "training/loop/trainer.py",
        "                    self._keep(position, learning, log)\n                self.world.barrier()",
        "                    pass\n                self.world.barrier()",
        (RESUME, KILLS),
    ),
    Mutant(
        "workers answer signals themselves",
        "data/loading/workers.py",
        "    signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)\n    parent",
        "    return\n    parent",
        (KILLS, "tests/data/loading/test_workers.py"),
    ),
    Mutant(
        "other images are taken for those of the beginning",
        "studies/carrying_out.py",
        'if plan.images.fingerprint() != kept.facts["images"]:',
        "if False:",
        (RESUME,),
    ),
    Mutant(
        "the engine is chosen anew",
        "studies/carrying_out.py",
        "    return replace(plan, engine=engine)",
        "    return plan",
        (RESUME,),
    ),
    Mutant(
        "what is asked is done before it is done",
        "unfinished.py",
        "            yield\n            remove(self._request)",
        "            remove(self._request)\n            yield",
        (UNFINISHED,),
    ),
    Mutant(
        "finished runs are done once more",
        "unfinished.py",
        "    else:\n        work.clear()\n        yield None",
        "    else:\n        rmtree(path)\n        with begin(path, request):\n            yield work",
        (UNFINISHED, STUDIES),
    ),
)
