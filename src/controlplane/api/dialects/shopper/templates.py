"""gpuplane.dialects.shopper.v1.Templates."""

from __future__ import annotations

from gpuplane.dialects.shopper.v1 import templates_pb2 as pb

from controlplane.api.call import Call
from controlplane.api.dialects.shopper.translate import image_of, template_shown, truth
from controlplane.api.plane import Plane
from controlplane.domain.errors import not_found


class Templates:
    """Shows templates."""

    service = "gpuplane.dialects.shopper.v1.Templates"

    def __init__(self, plane: Plane) -> None:
        self._offers = plane.core.offers

    async def list_templates(self, request: pb.ListTemplatesRequest, _call: Call) -> pb.TemplateList:
        recommended, ssh = truth(request.recommended, "recommended"), truth(request.use_ssh, "use_ssh")
        name, image = request.name.lower(), request.image.lower()
        found = [
            template
            for template in self._offers.templates()
            if name in template.name.lower()
            and image in image_of(template).lower()
            and recommended in (None, template.recommended)
            and ssh in (None, template.ssh)
        ]
        return pb.TemplateList(templates=map(template_shown, found), count=len(found))

    async def get_template(self, request: pb.GetTemplateRequest, _call: Call) -> pb.Template:
        template = self._offers.template(request.hash_id)
        if template is None:
            raise not_found("template", request.hash_id)
        return template_shown(template)
