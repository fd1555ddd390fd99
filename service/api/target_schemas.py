"""What `/targets` answers on the wire."""

from pydantic import BaseModel, Field, create_model

from service.inference.bundles import Consent, Target
from shared.bundle import BundleManifest


class TargetOut(BaseModel):
    """One target in the list."""

    id: str
    display_name: str
    scheme: str
    points: int
    image_size: int
    licence: str
    consent: Consent = Field(description="Whether the manifest names a record in which the person agreed.")
    bundle: str = Field(description="SHA-256 of the bundle, which X-LandmarkGAN-Bundle repeats on all that it makes.")
    manifest: str = Field(description="Path of the manifest, without what the next two have.")
    metrics: str = Field(description="Path of the figures.")
    presets: str = Field(description="Path of the presets.")
    reference: str = Field(description="Path of the reference picture.")

    @classmethod
    def of(cls, target: Target) -> "TargetOut":
        """The manifest in short."""
        manifest = target.manifest
        return cls(
            id=manifest.target,
            display_name=manifest.display_name,
            scheme=manifest.scheme,
            points=len(manifest.neutral),
            image_size=manifest.image_size,
            licence=manifest.data.licence,
            consent=target.consent,
            bundle=target.bundle,
            manifest=f"/targets/{manifest.target}",
            metrics=f"/targets/{manifest.target}/metrics",
            presets=f"/targets/{manifest.target}/presets",
            reference=f"/targets/{manifest.target}/reference",
        )


# The manifest but for what has paths of its own, and is most of its bytes. mypy knows no overload of create_model that
# takes its fields as a mapping.
ManifestOut = create_model(
    "ManifestOut",
    **{
        name: (field.annotation, field)
        for name, field in BundleManifest.model_fields.items()
        if name not in ("metrics", "presets")
    },  # type: ignore[call-overload]
)


class DamagedOut(BaseModel):
    """A bundle that is not served, and why; its id may be served all the same, by the bundle that was there before."""

    id: str
    reason: str


class TargetsOut(BaseModel):
    """What there is to serve."""

    default: str | None
    targets: list[TargetOut]
    damaged: list[DamagedOut]
