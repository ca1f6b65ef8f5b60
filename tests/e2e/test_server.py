"""Setting up servers for real: a bare one from nothing, and a second run that changes nothing."""

from __future__ import annotations

import json

from sandbox import server
from tests.e2e.world import World


def test_a_second_bootstrap_changes_nothing_and_says_so(world: World) -> None:
    rows = json.loads(world.fab("server.bootstrap", "--json").out)
    assert rows
    assert not [row["name"] for row in rows if row["changed"]]
    assert "nothing had to be changed" in world.fab("server.bootstrap").out


def test_doctor_names_every_difference_and_its_cure_and_changes_nothing(world: World) -> None:
    world.fab("server.doctor")
    world.on_server("sh", "-c", "chmod 0777 /opt/backups; echo '# changed' >>/opt/nginx/conf.d/proxy.inc")
    told = world.fab("server.doctor", code=1)
    assert "directories" in told.err
    assert "nginx files" in told.err
    assert "/opt/backups" in told.out
    assert world.on_server("stat", "-c", "%a", "/opt/backups").strip() == "777"
    assert "changed directories, nginx files" in world.fab("server.bootstrap").out
    world.fab("server.doctor")


def test_a_bare_server_is_made_ready_and_deployed_to(world: World) -> None:
    server.down("bare", print, purge=True)
    bare = server.up(name="bare", bare=True)
    host = bare.hosts[0].name
    try:
        # Where no registry can be reached nginx's image is put there by the sandbox, once there is a Docker to hold it.
        world.fab("server.bootstrap", host=host, code=None)
        server.up(name="bare")
        world.fab("server.bootstrap", host=host)
        assert "nothing had to be changed" in world.fab("server.bootstrap", host=host).out
        project = world.project("onbare", create=False, hosts=[host])
        project.fab("project.create", host=host)
        project.good("v1")
        assert "v1 is live" in project.fab("deploy", "--version", "v1", host=host).out
    finally:
        server.down("bare", print, purge=True)
