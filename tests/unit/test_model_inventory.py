from __future__ import annotations

import base64
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from pydantic import ValidationError

from fabfile.model.colour import Colour
from fabfile.model.failure import ExitCode, UsageFailure
from fabfile.model.inventory import Inventory, load
from fabfile.model.reference import inner_table, keys
from fabfile.model.schema import Host, Project, Table
from fabfile.model.secret import Secret

Write = Callable[..., Path]
KEY = "ssh-ed25519 " + base64.b64encode(b"\0\0\0\x0bssh-ed25519\0\0\0\x20" + bytes(32)).decode()
SHOP = '[projects.shop]\ndomain = "shop.example.com"\nsource = "shop"\n'
PROD = '[hosts.prod]\nhostname = "203.0.113.10"\n'


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def write(text: str, sandbox: str | None = None) -> Path:
        path = tmp_path / "hosts.toml"
        path.write_text(text)
        if sandbox is not None:
            (tmp_path / ".sandbox").mkdir(exist_ok=True)
            (tmp_path / ".sandbox" / "hosts.toml").write_text(sandbox)
        return path

    return write


def mistakes(path: Path, environ: dict[str, str] | None = None) -> tuple[str, ...]:
    """Return the mistakes as printed, after checking how they are reported."""
    with pytest.raises(UsageFailure) as caught:
        load(path, environ or {})
    assert caught.value.code == ExitCode.USAGE
    return caught.value.details


# --- What the objects hold


def test_a_project_needs_only_a_domain_and_a_source(write: Write) -> None:
    shop = load(write(SHOP), {}).project("shop")
    assert (shop.name, shop.domain, shop.domains) == ("shop", "shop.example.com", ("shop.example.com",))
    assert (shop.port, shop.replicas, shop.cpus, shop.memory, shop.dockerfile) == (8000, 1, 2.0, "2G", "Dockerfile")
    assert (shop.services, shop.uses_postgres, shop.uses_redis, shop.migrate) == ((), False, False, ())
    assert (shop.health.path, shop.health.deadline, shop.deploy.keep_releases) == ("/health", 60, 3)
    assert shop.slack.webhook is None


def test_a_project_knows_its_names_on_the_server(write: Write) -> None:
    project = load(write(SHOP.replace("projects.shop", "projects.my-shop") + 'aliases = ["a.b", "c.d"]\n'), {}).project(
        None
    )
    assert project.network == "my-shop_internal"
    assert project.directory == "/opt/projects/my-shop"
    assert project.release_directory("v1") == "/opt/projects/my-shop/releases/v1"
    assert project.compose_name("data") == "my-shop-data"
    assert project.compose_name(Colour.BLUE) == project.compose_name("blue") == "my-shop-blue"
    assert project.image_tag("v1") == "my-shop:v1"
    assert (project.postgres_user, project.postgres_database) == ("my_shop_prod", "my_shop_production")
    assert project.domains == ("shop.example.com", "a.b", "c.d")
    assert project.build_context == "."


def test_paths_are_relative_to_the_file_that_names_them(
    write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", "/home/ann")
    host = '[hosts.prod]\nhostname = "h.example"\nidentity_file = "~/.ssh/id"\nknown_hosts = "known"\n'
    sandbox = '[hosts.sandbox]\nhostname = "127.0.0.1"\nidentity_file = "key"\nsandbox = true\n'
    inventory = load(write(SHOP + host, sandbox), {})
    assert inventory.project(None).source == tmp_path / "shop"
    assert inventory.host("prod").identity_file == Path("/home/ann/.ssh/id")
    assert inventory.host("prod").known_hosts == tmp_path / "known"
    assert inventory.host("sandbox").identity_file == tmp_path / ".sandbox" / "key"


def test_nothing_changes_a_project(write: Write) -> None:
    shop = load(write(SHOP), {}).project(None)
    with pytest.raises(ValidationError):
        shop.replicas = 2  # type: ignore[misc]


@pytest.mark.parametrize(
    ("line", "key", "value"),
    [
        ("migrate = \"alembic -x a='b c' upgrade head\"", "migrate", ("alembic", "-x", "a=b c", "upgrade", "head")),
        ('migrate = ["alembic", "upgrade head"]', "migrate", ("alembic", "upgrade head")),
        ('migrate = ""', "migrate", ()),
        ("settings = {A=1, B=true, C=1.5, D='x y'}", "settings", {"A": "1", "B": "true", "C": "1.5", "D": "x y"}),
        ('replicas = "${REPLICAS}"', "replicas", 3),
        ('replicas = "${NONE:-4}"', "replicas", 4),
        ('memory = "${SIZE:-1}g"', "memory", "1g"),
        ('cpus = "${CPUS:-0.5}"', "cpus", 0.5),
        ('context = "./backend/"', "context", "backend"),
        ('exclude = ["*.pyc"]', "exclude", ("*.pyc",)),
        ('aliases = ["${DOMAIN}"]', "aliases", ("env.example.com",)),
    ],
)
def test_how_values_are_written(write: Write, line: str, key: str, value: object) -> None:
    environ = {"REPLICAS": "3", "DOMAIN": "env.example.com"}
    assert getattr(load(write(f"{SHOP}{line}\n"), environ).project(None), key) == value


@pytest.mark.parametrize(
    ("line", "keys"),
    [("", ()), ('""', ()), ("[]", ()), (f'"{KEY}"', (KEY,)), (f'["{KEY} ann@laptop"]', (KEY,)), ('"${K:-}"', ())],
)
def test_host_keys_are_one_or_several(write: Write, line: str, keys: tuple[str, ...]) -> None:
    text = PROD + (f"host_key = {line}\n" if line else "")
    assert load(write(text), {}).host("prod").host_key == keys


@pytest.mark.parametrize("hostname", ["prod.example.com", "10.0.0.1", "::1", "fe80::1%eth0", "prod_1x.local", "PROD"])
def test_hosts_are_reached_by_name_or_address(write: Write, hostname: str) -> None:
    text = f'[hosts.prod]\nhostname = "{hostname}"\n'
    if "_" in hostname:
        assert "must be a host name" in mistakes(write(text))[0]
    else:
        assert load(write(text), {}).host("prod").hostname == hostname


def test_a_webhook_stays_hidden(write: Write) -> None:
    text = SHOP + '[projects.shop.slack]\nwebhook = "${HOOK}"\n'
    project = load(write(text), {"HOOK": "https://hooks.slack.com/T1/secret"}).project(None)
    assert project.slack.webhook == Secret("https://hooks.slack.com/T1/secret")
    assert "T1" not in repr(project)
    assert load(write(text), {"HOOK": ""}).project(None).slack.webhook is None


def test_an_image_is_used_instead_of_a_source(write: Write) -> None:
    text = '[projects.shop]\ndomain = "shop.example.com"\nimage = "ghcr.io/example/shop:1.4.0"\n'
    assert load(write(text), {}).project(None).image == "ghcr.io/example/shop:1.4.0"


# --- Finding hosts and projects


SEVERAL = (
    '[hosts.a]\nhostname = "a.example"\n[hosts.b]\nhostname = "b.example"\n[hosts.c]\nhostname = "${C_IP}"\n'
    '[groups]\nweb = ["a", "b"]\nall = ["c", "a"]\n' + SHOP + 'hosts = ["web"]\n'
    '[projects.blog]\ndomain = "blog.example.com"\nsource = "blog"\n'
)


@pytest.fixture
def several(write: Write) -> Inventory:
    return load(write(SEVERAL), {})


def test_names_are_listed_in_the_order_of_the_file(several: Inventory) -> None:
    assert several.hosts == ("a", "b", "c")
    assert several.groups == ("web", "all")
    assert several.projects == ("shop", "blog")


@pytest.mark.parametrize(
    ("names", "expected"),
    [(["a"], "a"), (["web"], "a b"), (["b", "web"], "b a"), (["web", "a", "web"], "a b"), ([], "")],
)
def test_groups_expand_to_hosts_once_and_in_order(several: Inventory, names: list[str], expected: str) -> None:
    assert [host.name for host in several.expand(names)] == expected.split()


def test_without_hosts_given_the_project_decides(several: Inventory) -> None:
    shop, blog = several.project("shop"), several.project("blog")
    assert [host.name for host in several.hosts_for(shop, [])] == ["a", "b"]
    assert [host.name for host in several.hosts_for(shop, ["b"])] == ["b"]
    with pytest.raises(UsageFailure, match="the project blog has no hosts"):
        several.hosts_for(blog, [])


def test_a_host_that_does_not_exist_is_answered_with_those_that_do(several: Inventory) -> None:
    with pytest.raises(UsageFailure, match="there is no host 'wbe', did you mean web") as caught:
        several.expand(["wbe"])
    assert caught.value.details == ("hosts.toml has: a, b, c, web, all",)


@pytest.mark.parametrize("name", ["../x", "a;b", "$(id)", "x" * 300, "", "магазин", "shop\n"])
def test_hostile_names_of_projects_and_hosts_are_refused(several: Inventory, name: str) -> None:
    for look_up in (several.project, several.host):
        with pytest.raises(UsageFailure) as caught:
            look_up(name)
        assert caught.value.what.isprintable()


def test_one_of_several_projects_must_be_chosen(several: Inventory) -> None:
    with pytest.raises(UsageFailure, match="several projects: shop, blog") as caught:
        several.project(None)
    assert caught.value.then == "choose one: --project NAME"


def test_the_only_project_need_not_be_named(write: Write) -> None:
    assert load(write(SHOP), {}).project(None).name == "shop"
    with pytest.raises(UsageFailure, match="has no project"):
        load(write(""), {}).project(None)


# --- Variables


def test_a_variable_that_is_not_set_matters_only_to_its_host(several: Inventory) -> None:
    assert several.host("a").hostname == "a.example"
    with pytest.raises(UsageFailure, match="the host c needs C_IP from the environment") as caught:
        several.expand(["all"])
    assert caught.value.details == ("hosts.toml: hosts.c.hostname: ${C_IP} is not set",)


def test_a_host_with_a_variable_that_is_not_set_is_checked_all_the_same(write: Write) -> None:
    text = '[hosts.c]\nhostname = "${C_IP}"\nport = 70000\n'
    assert mistakes(write(text)) == ("hosts.toml: hosts.c.port: must be 1 to 65535, is 70000",)


def test_a_value_from_the_environment_is_checked_but_not_shown(write: Write) -> None:
    text = '[hosts.c]\nhostname = "${C_IP}"\n'
    assert mistakes(write(text), {"C_IP": "-oProxyCommand=x"}) == (
        'hosts.toml: hosts.c.hostname: must be a host name or an IP address, is "${C_IP}"',
    )


# --- The sandbox

SANDBOX = '[hosts.sandbox]\nhostname = "127.0.0.1"\nport = 2222\nuser = "deploy"\nsandbox = true\n'


def test_hosts_of_the_sandbox_are_there_while_it_is_up(write: Write) -> None:
    inventory = load(write(SHOP + 'hosts = ["sandbox"]\n' + PROD, SANDBOX), {})
    assert inventory.hosts == ("prod", "sandbox")
    assert inventory.hosts_for(inventory.project(None), [])[0].sandbox


def test_without_the_sandbox_one_line_says_how_to_start_it(write: Write) -> None:
    inventory = load(write(SHOP + 'hosts = ["sandbox", "sandbox-2"]\n'), {})
    with pytest.raises(UsageFailure, match="the sandbox is not up") as caught:
        inventory.hosts_for(inventory.project(None), [])
    assert caught.value.then == "./inv sandbox.up"


def test_a_host_cannot_be_in_both_files(write: Write) -> None:
    assert mistakes(write(SANDBOX, SANDBOX)) == (
        "hosts.toml: hosts.sandbox: .sandbox/hosts.toml defines this host too, choose another name",
    )


def test_mistakes_in_the_file_of_the_sandbox_are_named_as_such(write: Write) -> None:
    found = mistakes(write(SHOP, '[hosts.sandbox]\nhostname = "a b"\n[projects.x]\n'))
    assert found == (
        ".sandbox/hosts.toml: projects: unknown key",
        '.sandbox/hosts.toml: hosts.sandbox.hostname: must be a host name or an IP address, is "a b"',
    )


# --- Mistakes


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (SHOP + "replicas = 40\n", "projects.shop.replicas: must be 1 to 15, is 40"),
        (SHOP + "replica = 4\n", 'projects.shop.replica: unknown key, did you mean "replicas"?'),
        (SHOP + "zzz = 4\n", "projects.shop.zzz: unknown key"),
        (SHOP + 'name = "x"\n', "projects.shop.name: unknown key, the name is in the table's header"),
        (SHOP + 'replicas = "three"\n', 'projects.shop.replicas: must be 1 to 15, is "three"'),
        (SHOP + "replicas = true\n", "projects.shop.replicas: must be a number, is true"),
        (SHOP + "replicas = 1.5\n", "projects.shop.replicas: must be 1 to 15, is 1.5"),
        (SHOP + "replicas = [1]\n", "projects.shop.replicas: must be 1 to 15, is a list"),
        (SHOP + "cpus = 0\n", "projects.shop.cpus: must be more than 0, at most 1024, is 0"),
        (SHOP + 'memory = "lots"\n', 'projects.shop.memory: must be a size such as "512M" or "2G", is "lots"'),
        (SHOP + "memory = 512\n", "projects.shop.memory: must be text in quotes, is 512"),
        (SHOP + 'hosts = "prod"\n', 'projects.shop.hosts: must be a list, is "prod"'),
        (SHOP + "health = 1\n", "projects.shop.health: must be a table, is 1"),
        (SHOP + "health.path = 'x'\n", 'projects.shop.health.path: must be a path such as "/health", is "x"'),
        (SHOP + 'services = ["mysql"]\n', 'projects.shop.services[0]: must be "postgres" or "redis", is "mysql"'),
        (SHOP + 'services = ["redis", "redis"]\n', "projects.shop.services: lists a service twice"),
        (SHOP + 'migrate = "a \'b"\n', 'projects.shop.migrate: must be a command: no closing quotation, is "a \'b"'),
        (SHOP + 'dockerfile = "../x"\n', "projects.shop.dockerfile: must be a relative path without '..', is \"../x\""),
        (
            SHOP + 'image = "a:b"\ndockerfile = "D"\n',
            "projects.shop.image: is given beside `dockerfile`, only one can be used",
        ),
        (SHOP + "[projects.shop.redis]\n", 'projects.shop.redis: is given, but `services` does not list "redis"'),
        (SHOP + 'deploy.standby = "warm"\n', 'projects.shop.deploy.standby: must be "cold" or "hot", is "warm"'),
        (
            SHOP + 'secrets = ["A-B"]\n',
            "projects.shop.secrets[0]: must be the name of a variable: letters, digits and _",
        ),
        (SHOP + 'secrets = ["A"]\nsettings = {A=1}\n', "projects.shop.secrets: lists A, which `settings` sets"),
        (
            SHOP + 'settings = {"A-B"=1}\n',
            "projects.shop.settings.A-B: must be the name of a variable: letters, digits and _",
        ),
        (
            SHOP + 'settings = {A="it\'s"}\n',
            "projects.shop.settings.A: must be text for .env: printable ASCII without single quote, backslash and ${",
        ),
        (SHOP + 'slack.webhook = "hunter2"\n', "projects.shop.slack.webhook: must be an https address"),
        (SHOP + 'memory = "${M"\n', "projects.shop.memory: has a `${` that is neither ${NAME} nor ${NAME:-default}"),
        (SHOP + 'hosts = ["prdo"]\n' + PROD, "projects.shop.hosts: there is no host 'prdo', did you mean \"prod\"?"),
        (
            SHOP + '[projects.blog]\nsource = "b"\ndomain = "blog.example"\naliases = ["shop.example.com"]\n',
            "projects.blog.aliases: 'shop.example.com' is a domain of the project shop already",
        ),
        (
            SHOP.replace("shop.example.com", "Shop.example"),
            "projects.shop.domain: 'Shop.example' is no domain, write it as \"shop.example\"",
        ),
        ('[projects.shop]\nsource = "."\n', "projects.shop.domain: is required (domain of the site)"),
        (
            '[projects.shop]\ndomain = "a.b"\n',
            "projects.shop.source: is required (the directory that is uploaded), unless `image` is given",
        ),
        ("[hosts.prod]\n", "hosts.prod.hostname: is required (name or address that SSH connects to)"),
        ("[hosts]\nprod = 1\n", "hosts.prod: must be a table: [hosts.NAME]"),
        ("hosts = 1\n", "hosts: must be a table: [hosts.NAME]"),
        (
            '[hosts.prod]\nhostname = "-oProxyCommand=x"\n',
            'hosts.prod.hostname: must be a host name or an IP address, is "-oProxyCommand=x"',
        ),
        (PROD + 'user = "a b"\n', 'hosts.prod.user: must be the name of a user, is "a b"'),
        (
            PROD + 'host_key = "203.0.113.10 ssh-ed25519 AAAA"\n',
            'hosts.prod.host_key: must be a public key such as "ssh-ed25519 AAAA...", without the name of the host',
        ),
        (
            PROD + 'identity_file = "a"\nidentity_env = "B"\n',
            "hosts.prod.identity_env: is given beside `identity_file`, only one can be used",
        ),
        (PROD + 'gateway = "x"\n', "hosts.prod.gateway: there is no host 'x'"),
        (PROD + 'gateway = "prod"\n', "hosts.prod.gateway: leads back to where it came from: prod -> prod"),
        (
            PROD + '[hosts."a b"]\nhostname = "x"\n',
            "hosts.'a b': must be a name of letters, digits and ._-, is \"a b\"",
        ),
        ("[groups]\nweb = 1\n", 'groups.web: must be a list of hosts, as in ["prod", "prod-2"]'),
        ('[groups]\nweb = ["x"]\n', "groups.web: there is no host 'x'"),
        (PROD + '[groups]\nprod = ["prod"]\n', "groups.prod: is the name of a host too, choose another name"),
        (PROD + '[groups]\na = ["prod"]\nb = ["a"]\n', "groups.b: a is a group, groups hold hosts only"),
        ("[host.prod]\n", 'host: unknown key, did you mean "hosts"?'),
    ],
)
def test_a_mistake_is_one_line_with_its_place(write: Write, text: str, line: str) -> None:
    assert mistakes(write(text)) == (f"hosts.toml: {line}",)


@pytest.mark.parametrize("name", ["../x", "a;b", "$(id)", "", "x" * 300, "магазин", "nginx"])
def test_hostile_names_of_projects_in_the_file_are_refused(write: Write, name: str) -> None:
    (line,) = mistakes(write(SHOP.replace("projects.shop", f'projects."{name}"')))
    assert "is no project name" in line or "is reserved" in line
    assert len(line) < 300


def test_all_mistakes_are_told_at_once(write: Write) -> None:
    text = SHOP + 'replicas = 0\nprot = 1\nmemory = "?"\n' + PROD + "port = 0\n"
    found = mistakes(write(text))
    assert len(found) == 4
    with pytest.raises(UsageFailure, match=r"hosts\.toml has 4 mistakes"):
        load(write(text), {})


def test_a_circle_of_gateways_is_shown(write: Write) -> None:
    hosts = "".join(f'[hosts.{a}]\nhostname = "{a}"\ngateway = "{b}"\n' for a, b in ("ab", "bc", "ca", "da"))
    assert mistakes(write(hosts)) == (
        "hosts.toml: hosts.a.gateway: leads back to where it came from: a -> b -> c -> a",
        "hosts.toml: hosts.b.gateway: leads back to where it came from: b -> c -> a -> b",
        "hosts.toml: hosts.c.gateway: leads back to where it came from: c -> a -> b -> c",
    )


@pytest.mark.parametrize("value", ['"hunter2hunter2"', "12345678", '["hunter2hunter2"]', "{a='hunter2hunter2'}"])
@pytest.mark.parametrize("place", ["slack.webhook", "slack.password", "settings.A-B", "secret_key", "api_token"])
def test_values_of_keys_that_look_secret_are_not_shown(write: Write, place: str, value: str) -> None:
    with pytest.raises(UsageFailure) as caught:
        load(write(f"{SHOP}{place} = {value}\n"), {})
    assert "hunter2" not in caught.value.render()
    assert "12345678" not in caught.value.render()


@pytest.mark.parametrize(
    ("text", "what"),
    [
        (b"[hosts\n", "hosts.toml: line 1, column 7: "),
        (b"a = 1\nb = \n", "hosts.toml: line 2, column 5: invalid value"),
        (b"[hosts.a]\n[hosts.a]\n", "hosts.toml: line 2, column 9: "),
        (b"a = 'x", "hosts.toml: "),
        (b"a = 1\nb = '\xff'\n", "hosts.toml: line 2: not UTF-8"),
    ],
)
def test_a_file_that_is_not_toml_is_told_with_its_line(tmp_path: Path, text: bytes, what: str) -> None:
    (tmp_path / "hosts.toml").write_bytes(text)
    with pytest.raises(UsageFailure) as caught:
        load(tmp_path / "hosts.toml", {})
    assert caught.value.what.startswith(what)


def test_a_file_that_cannot_be_read_is_told_with_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(UsageFailure, match=r"hosts\.toml not found in") as caught:
        load(tmp_path / "hosts.toml", {})
    assert caught.value.then
    (tmp_path / "hosts.toml").mkdir()
    with pytest.raises(UsageFailure, match=r"hosts\.toml cannot be read: is a directory"):
        load(tmp_path / "hosts.toml", {})


def places(title: str, table: type[Table]) -> Iterator[tuple[str, str]]:
    for key, field in keys(table).items():
        yield title, key
        if inner := inner_table(field):
            yield from places(f"{title}.{key}", inner)


@pytest.mark.parametrize(
    "value", ["1", "-1.5", "true", "'x'", "''", "[]", "[1]", "[[]]", "{}", "{x = 1}", "2026-01-01"]
)
def test_no_value_anywhere_ends_in_a_traceback(write: Write, value: str) -> None:
    for title, key in (*places("hosts.prod", Host), *places("projects.shop", Project)):
        assert mistakes(write(f"[{title}]\nunknown = 0\n{key} = {value}\n"))
