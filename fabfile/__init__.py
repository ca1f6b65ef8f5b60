"""The words that `fab` knows."""

from invoke.collection import Collection

from fabfile.commands import deploy, project, server, status

namespace = Collection()
for word in (
    deploy.deploy,
    deploy.rollback,
    deploy.plan,
    deploy.recover,
    status.status,
    status.health,
    status.releases,
):
    namespace.add_task(word)
namespace.add_collection(Collection("project", project.create, project.list_, project.show))
namespace.add_collection(Collection("server", server.bootstrap, server.doctor))
