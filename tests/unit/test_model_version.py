from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from fabfile.model.failure import ExitCode, UsageFailure
from fabfile.model.version import ignored, resolve

Git = Callable[..., str]
ENVIRONMENT = {
    "PATH": os.environ["PATH"],
    "HOME": "/nonexistent",
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_AUTHOR_NAME": "Ann",
    "GIT_AUTHOR_EMAIL": "ann@example.com",
    "GIT_COMMITTER_NAME": "Ann",
    "GIT_COMMITTER_EMAIL": "ann@example.com",
}


def run_git(directory: Path, *arguments: str, **environment: str) -> str:
    output = subprocess.run(
        ("git", *arguments), cwd=directory, env=ENVIRONMENT | environment, capture_output=True, check=True, text=True
    )
    return output.stdout.strip()


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    directory = tmp_path / "repository"
    (directory / "shop" / "app").mkdir(parents=True)
    (directory / "shop" / "app" / "main.py").write_text("print()\n")
    (directory / ".gitignore").write_text("*.pyc\n/built/\n")
    run_git(directory, "init", "--quiet", "--initial-branch", "main")
    run_git(directory, "add", ".")
    run_git(directory, "commit", "--quiet", "--message", "Open the shop\n\nAt last.")
    return directory


def test_a_commit_without_a_tag_is_called_by_its_first_characters(repository: Path) -> None:
    version = resolve(repository, None)
    commit = run_git(repository, "rev-parse", "HEAD")
    assert (version.name, version.commit) == (commit[:8], commit)
    assert (version.subject, version.dirty) == ("Open the shop", False)


def test_the_name_given_wins_and_the_commit_is_still_known(repository: Path) -> None:
    run_git(repository, "tag", "v1.0.0")
    version = resolve(repository, "hotfix-1")
    assert version.name == "hotfix-1"
    assert version.commit == run_git(repository, "rev-parse", "HEAD")


@pytest.mark.parametrize("name", ["../x", "a;b", "$(id)", "", "v" * 300, "версия", "current"])
def test_hostile_names_are_refused(repository: Path, name: str) -> None:
    with pytest.raises(UsageFailure) as caught:
        resolve(repository, name)
    assert caught.value.code == ExitCode.USAGE


@pytest.mark.parametrize(
    ("tags", "name"),
    [
        (["v1.2.3"], "v1.2.3"),
        (["v1.9.0", "v1.10.0"], "v1.10.0"),
        (["v1.2.0-rc.1", "v1.2.0"], "v1.2.0"),
        (["v1.2.0-rc.9", "v1.2.0-rc.10"], "v1.2.0-rc.10"),
        (["1.2", "stable"], "1.2"),
        (["stable"], "stable"),
        (["release/1.0", "v1.0+build", "stable"], "stable"),
    ],
)
def test_the_best_tag_at_head_is_the_version(repository: Path, tags: list[str], name: str) -> None:
    for tag in tags:
        run_git(repository, "tag", tag)
    assert resolve(repository, None).name == name


def test_of_tags_that_are_no_versions_the_newest_counts(repository: Path) -> None:
    for day, tag in ((2, "second"), (1, "first")):
        run_git(repository, "tag", "--message", "x", tag, GIT_COMMITTER_DATE=f"2026-01-0{day}T00:00:00Z")
    assert resolve(repository, None).name == "second"


def test_tags_of_other_commits_do_not_count(repository: Path) -> None:
    run_git(repository, "tag", "v1.0.0")
    run_git(repository, "commit", "--quiet", "--allow-empty", "--message", "More")
    assert resolve(repository, None).name == run_git(repository, "rev-parse", "HEAD")[:8]


def test_a_tag_that_cannot_name_a_release_is_passed_over(repository: Path) -> None:
    run_git(repository, "tag", "release/1.0")
    assert resolve(repository, None).name == run_git(repository, "rev-parse", "HEAD")[:8]


@pytest.mark.parametrize("change", ["edited", "new", "deleted", "staged"])
def test_changes_that_are_not_committed_are_seen(repository: Path, change: str) -> None:
    file = repository / "shop" / "app" / "main.py"
    if change == "deleted":
        file.unlink()
    elif change == "new":
        file.with_name("new.py").write_text("")
    else:
        file.write_text("print(1)\n")
        if change == "staged":
            run_git(repository, "add", ".")
    assert resolve(repository, None).dirty
    assert resolve(repository / "shop", None).dirty


def test_ignored_files_are_no_changes(repository: Path) -> None:
    (repository / "shop" / "main.pyc").write_text("")
    assert not resolve(repository, None).dirty


def test_of_a_subdirectory_only_its_own_changes_count(repository: Path) -> None:
    (repository / "README.md").write_text("new\n")
    version = resolve(repository / "shop", None)
    assert version.commit == run_git(repository, "rev-parse", "HEAD")
    assert not version.dirty


def test_a_detached_head_and_a_shallow_clone_have_versions(repository: Path, tmp_path: Path) -> None:
    run_git(repository, "commit", "--quiet", "--allow-empty", "--message", "More")
    commit = run_git(repository, "rev-parse", "HEAD")
    run_git(tmp_path, "clone", "--quiet", "--depth", "1", repository.as_uri(), "shallow")
    run_git(tmp_path / "shallow", "checkout", "--quiet", "--detach")
    assert resolve(tmp_path / "shallow", None).commit == commit


def test_inside_a_git_hook_the_source_counts_and_not_the_repository_of_the_hook(
    repository: Path, tmp_path: Path
) -> None:
    environment = {**os.environ, "GIT_DIR": str(tmp_path / "elsewhere"), "GIT_INDEX_FILE": str(tmp_path / "index")}
    assert resolve(repository, None, environment).commit == run_git(repository, "rev-parse", "HEAD")


def test_without_git_a_name_is_needed(tmp_path: Path) -> None:
    environment = {**os.environ, "GIT_CEILING_DIRECTORIES": str(tmp_path)}
    assert resolve(tmp_path, "v1", environment).commit is None
    with pytest.raises(UsageFailure, match=r"cannot tell the version of .*: .*not a git repository") as caught:
        resolve(tmp_path, None, environment)
    assert "--version" in caught.value.render()
    with pytest.raises(UsageFailure, match="git is not installed"):
        resolve(tmp_path, None, {"PATH": str(tmp_path)})


def test_a_repository_without_a_commit_has_no_version(tmp_path: Path) -> None:
    run_git(tmp_path, "init", "--quiet")
    with pytest.raises(UsageFailure, match="does not have any commits"):
        resolve(tmp_path, None)


def test_a_directory_that_git_ignores_has_no_version_of_its_own(repository: Path) -> None:
    (repository / "built").mkdir()
    with pytest.raises(UsageFailure, match="git ignores this directory"):
        resolve(repository / "built", None)


def test_a_source_that_does_not_exist_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageFailure, match=r"source directory .*/nowhere does not exist"):
        resolve(tmp_path / "nowhere", "v1")


def test_a_subject_cannot_steer_the_terminal(repository: Path) -> None:
    run_git(repository, "commit", "--quiet", "--allow-empty", "--message", "Red \x1b[31m alert")
    assert resolve(repository, None).subject == "Red  [31m alert"


# --- What git ignores


def test_ignored_paths_are_those_that_are_not_tracked_and_whole_directories_end_in_a_slash(repository: Path) -> None:
    for path in ("built/a", "built/sub/b", "shop/app/main.pyc", "shop/new.py", "kept.pyc"):
        (repository / path).parent.mkdir(parents=True, exist_ok=True)
        (repository / path).write_text("x")
    run_git(repository, "add", "--force", "kept.pyc")
    run_git(repository, "commit", "--quiet", "--message", "Keep it")
    assert sorted(ignored(repository)) == ["built/", "shop/app/main.pyc"]


def test_a_directory_with_a_tracked_file_is_not_ignored_as_a_whole(repository: Path) -> None:
    (repository / "built").mkdir()
    for name in ("kept", "not kept"):
        (repository / "built" / name).write_text("x")
    run_git(repository, "add", "--force", "built/kept")
    assert ignored(repository) == ("built/not kept",)


def test_ignored_paths_are_seen_from_the_source_and_named_as_they_are(repository: Path) -> None:
    names = ["новое.pyc", 'quote".pyc', "back\\slash.pyc", "[a]*?.pyc", "two\nlines.pyc", " .pyc"]
    for name in names:
        (repository / "shop" / name).write_text("x")
    (repository / "outside.pyc").write_text("x")
    assert sorted(ignored(repository / "shop")) == sorted(names)


def test_without_git_nothing_is_ignored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / ".gitignore").write_text("*\n")
    assert ignored(tmp_path) == ()
    monkeypatch.setenv("PATH", str(tmp_path))
    assert ignored(tmp_path, {"PATH": str(tmp_path)}) == ()


def test_a_source_that_git_ignores_as_a_whole_is_uploaded_whole(repository: Path) -> None:
    (repository / "built").mkdir()
    (repository / "built" / "index.html").write_text("x")
    assert [path for path in ignored(repository / "built") if path.strip("./")] == []


def test_inside_a_git_hook_the_source_itself_is_asked(repository: Path, tmp_path: Path) -> None:
    (repository / "a.pyc").write_text("x")
    assert ignored(repository, {**ENVIRONMENT, "GIT_DIR": str(tmp_path / "other")}) == ("a.pyc",)
