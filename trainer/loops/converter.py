"""Learn the landmark converter: the encoder Phi, shared, and a decoder Psi for every identity (eq. 4 and 5).

The paper's terms alone let Psi project a stranger's expression onto what its target did in training. Here Phi and Psi
also see people who never were: a real frame moved to a face made at random, whose answer is known (`transfer`).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from tqdm import tqdm

from shared.geometry import CropRule
from shared.landmarks import Scheme
from shared.neutral import find_neutral
from trainer.config import ConverterTraining
from trainer.loops.checkpoint import CheckpointClock, load_checkpoint, save_checkpoint
from trainer.loops.distributed import SINGLE_PROCESS, DistributedContext
from trainer.loops.log import LOG_STEPS, open_log
from trainer.loops.optimisers import group_parameters, make_optimiser
from trainer.losses.terms import l2l, landmark_distance, x_l2l
from trainer.networks.converter import Converter, Decoder, Encoder, normalise_l2
from trainer.sampling.face_shapes import Retarget, ShapeRange, exaggerate, recrop, turn_roll, weigh_points


@dataclass(frozen=True)
class Identity:
    """A person to learn from: training landmarks (n, N, 2) in crop units, and what is known of their shape."""

    landmarks: Tensor
    neutral: Tensor
    range: ShapeRange


def make_identity(landmarks: Tensor, scheme: Scheme) -> Identity:
    """An identity from its training landmarks (n, N, 2) in crop units."""
    neutral = torch.from_numpy(find_neutral(landmarks.numpy(), scheme))
    return Identity(landmarks, neutral, ShapeRange(landmarks, scheme))


class ConverterModel(nn.Module):
    """Phi and every Psi; `average` is the neutral face of the average identity, in which Phi speaks."""

    average: Tensor

    def __init__(self, config: ConverterTraining, names: list[str]) -> None:
        super().__init__()
        self.phi = Encoder(config.network)
        self.psi = nn.ModuleDict({name: Decoder(config.network) for name in names})
        self.register_buffer("average", torch.zeros(config.network.points, 2))

    def of(self, target: str) -> Converter:
        """Psi_t after Phi, as it is served."""
        decoder = self.psi[target]
        assert isinstance(decoder, Decoder)
        return Converter(self.phi, decoder)

    def fit_statistics(self, identities: Mapping[str, Identity], retarget: Retarget) -> None:
        """Set the centres and spreads that whiten the networks' inputs and outputs."""
        self.average.copy_(torch.stack([each.neutral for each in identities.values()]).mean(dim=0))
        latents = {
            name: normalise_l2(retarget.move(each.landmarks, each.neutral, self.average))
            for name, each in identities.items()
        }
        pooled = torch.cat(list(latents.values()))
        self.phi.centre.copy_(pooled.mean(dim=0))
        self.phi.spread.fill_(max(1e-4, float((pooled - pooled.mean(dim=0)).std())))
        for name, each in identities.items():
            converter, latent = self.of(name), latents[name]
            spread = max(1e-4, float((latent - latent.mean(dim=0)).std()))
            size = float((each.landmarks[0] - each.landmarks[0].mean(dim=0)).norm())  # l2 norm -> crop units
            converter.decoder.latent_centre.copy_(latent.mean(dim=0))
            converter.decoder.latent_spread.fill_(spread)
            converter.decoder.target_centre.copy_(each.landmarks.mean(dim=0))
            converter.decoder.target_spread.fill_(spread * size)


class ConverterLosses:
    """What Phi and every Psi learn from: the identities, and the terms they are held to."""

    def __init__(
        self, identities: Mapping[str, Identity], scheme: Scheme, rule: CropRule, config: ConverterTraining
    ) -> None:
        self.identities = identities
        self.scheme = scheme
        self.rule = rule
        self.config = config
        self.retarget = Retarget(scheme)
        self.weights = weigh_points(scheme, config.feature_weight, config.jaw_weight)

    def make_model(self) -> ConverterModel:
        """Phi and Psi before they learn."""
        model = ConverterModel(self.config, list(self.identities))
        model.fit_statistics(self.identities, self.retarget)
        return model

    def loss(self, model: ConverterModel, batch: int, mine: slice = slice(None)) -> tuple[Tensor, Mapping[str, Tensor]]:
        """All the converter's terms on `batch` frames of each identity, the mean over identities; then each one apart.

        Of the frames drawn, those of the rows `mine` are learned from.
        """
        losses, terms = zip(*(self._loss_of(model, name, batch, mine) for name in self.identities), strict=True)
        apart = {name: torch.stack([each[name] for each in terms]).mean() for name in terms[0]}
        return torch.stack(losses).mean(), apart

    def _loss_of(self, model: ConverterModel, name: str, batch: int, mine: slice) -> tuple[Tensor, dict[str, Tensor]]:
        person, config = self.identities[name], self.config
        chosen = torch.randint(len(person.landmarks), (batch,))
        drawn = person.landmarks[chosen]
        drawn = drawn + torch.randn_like(drawn) * config.noise  # (batch, N, 2)
        frames = drawn[mine]  # (B, N, 2)

        # The person as in the frames: L2L, and X-L2L there and back through everybody else.
        latent = model.phi(frames)
        neutral_frames = normalise_l2(self.retarget.move(frames, person.neutral, model.average))  # L', without identity
        rebuilt = model.psi[name](latent)
        terms = {"l2l": l2l(rebuilt, frames, latent, neutral_frames, self.weights)}
        loss = config.l2l * terms["l2l"]
        for other in self.identities:
            if other != name and config.x_l2l > 0:
                cycled = model.psi[name](model.phi(model.psi[other](latent)))
                cycle, others = x_l2l(cycled, frames, self.weights), len(self.identities) - 1
                terms["x_l2l"] = terms.get("x_l2l", 0) + cycle / others
                loss = loss + config.x_l2l * cycle / others
        if config.transfer > 0:
            terms["transfer"] = self._transfer(model, person, drawn, mine)
            loss = loss + config.transfer * terms["transfer"]
        return loss, {name: term.detach() for name, term in terms.items()}

    def _transfer(self, model: ConverterModel, person: Identity, frames: Tensor, mine: slice) -> Tensor:
        """The same expressions, exaggerated or mirrored, on somebody who never was: everybody's answer is known."""
        identities, retarget, config = self.identities, self.retarget, self.config
        acted = exaggerate(frames, person.neutral, retarget, config.exaggeration)
        mirrored = torch.stack([1 - acted[..., 0], acted[..., 1]], dim=-1)[:, list(retarget.flip)]
        acted = turn_roll(torch.where(torch.rand(len(acted), 1, 1) < 0.5, mirrored, acted), config.roll)
        partner = identities[list(identities)[int(torch.randint(len(identities), ()))]].neutral
        between = person.neutral + (partner - person.neutral) * torch.rand(len(acted), 1, 1)
        stranger = recrop(retarget.move(acted, person.neutral, retarget.vary(between)), self.rule)
        acted, stranger = acted[mine], stranger[mine]
        latent = model.phi(stranger)
        wanted = normalise_l2(retarget.move(acted, person.neutral, model.average))
        loss = landmark_distance(latent, wanted, self.weights)
        for other, target in identities.items():
            answer = target.range.limit(recrop(retarget.move(acted, person.neutral, target.neutral), self.rule))
            loss = loss + landmark_distance(model.psi[other](latent), answer, self.weights) / len(identities)
        return loss


class ConverterLossModule(nn.Module):
    """The converter with its losses: a forward pass is all that a step asks of it, so that processes can share it."""

    def __init__(self, model: ConverterModel, losses: ConverterLosses) -> None:
        super().__init__()
        self.model = model
        self.losses = losses

    def forward(
        self, batch: int, mine: slice, target: str | None = None, sources: Tensor | None = None
    ) -> tuple[Tensor, Mapping[str, Tensor], Tensor | None]:
        """`ConverterLosses.loss`, and `sources` (k, N, 2) converted to the target where they are given."""
        converted = None if target is None else self.model.of(target)(sources)
        return *self.losses.loss(self.model, batch, mine), converted


def train_converter(
    losses: ConverterLosses, seed: int, folder: Path, context: DistributedContext = SINGLE_PROCESS
) -> ConverterModel:
    """Train on the CPU (the networks are small), going on from ``folder/converter.pt`` where there is one."""
    config = losses.config
    torch.manual_seed(seed)
    model = losses.make_model()
    optimiser = make_optimiser(config.optimiser, group_parameters(model, None), betas=(0.9, 0.99))
    for group in optimiser.param_groups:
        group["lr"] = config.learning_rate
    schedule = (
        torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, config.steps)
        if config.schedule == "cosine"
        else torch.optim.lr_scheduler.ConstantLR(optimiser, factor=1.0)
    )

    path = folder / "converter.pt"
    first = 0
    if (saved := load_checkpoint(path, config)) is not None:
        model.load_state_dict(saved["model"])
        optimiser.load_state_dict(saved["optimiser"])
        schedule.load_state_dict(saved["schedule"])
        first = saved["step"]

    def save(step: int) -> None:
        state = {"step": step, "model": model.state_dict()}
        state |= {"optimiser": optimiser.state_dict(), "schedule": schedule.state_dict()}
        if context.is_main:
            save_checkpoint(path, config, state)

    loss_module = context.distribute(ConverterLossModule(model, losses))
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # Layers this small spend more time handing work between threads than doing it.
    clock = CheckpointClock()
    progress = tqdm(
        range(first, config.steps), "converter", config.steps, initial=first, unit="step", disable=not context.is_main
    )
    try:
        with open_log(folder, first, context.is_main) as log:
            for step in progress:
                # What a step draws hangs on its number alone, so that a resumed run is the same run.
                torch.manual_seed(seed * 1_000_003 + step)
                loss, terms, _ = loss_module(config.batch, context.rows)
                optimiser.zero_grad()
                loss.backward()
                optimiser.step()
                if step % LOG_STEPS == 0:
                    values = context.average({"loss": loss, **terms})
                    progress.set_postfix(loss=f"{values['loss']:.4f}", refresh=False)
                    speed = config.batch * len(losses.identities) * (progress.format_dict["rate"] or 0)
                    rates = {"learning_rate": float(schedule.get_last_lr()[0]), "samples_per_second": speed}
                    log.add_scalars(step, values | rates)
                schedule.step()
                if clock.is_due():
                    log.flush()
                    save(step + 1)
    finally:
        torch.set_num_threads(threads)
    if first < config.steps:
        save(config.steps)
    return model.eval()
