"""Templates in the canonical API."""

from __future__ import annotations

from gpuplane.v1 import template_pb2 as pb

from controlplane.domain.template import Constraint, Template
from controlplane.wire.common import timestamp


def template_message(template: Template) -> pb.Template:
    """The canonical message of a template. Its environment and start command may hold its author's secrets, and are
    not shown."""
    return pb.Template(
        id=template.id,
        provider=template.provider,
        name=template.name,
        image=template.image,
        description=template.description,
        ports=template.ports,
        ssh=template.ssh,
        recommended=template.recommended,
        disk_gb=template.disk_gb,
        constraints=map(_constraint, template.constraints),
        create_time=timestamp(template.created_at) if template.created_at is not None else None,
    )


def _constraint(constraint: Constraint) -> pb.TemplateConstraint:
    value = constraint.value
    values = value if isinstance(value, tuple) else (value,)
    return pb.TemplateConstraint(fact=constraint.fact, operator=constraint.op, values=map(_word, values))


def _word(value: float | str | bool) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
