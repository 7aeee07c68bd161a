"""The training loop, by Accelerate: accumulation, clipping, checkpoints, curves and validation images."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from diffusers.models.attention_processor import AttnProcessor

from weldgen.data.images import write_rgb
from weldgen.errors import BackendError
from weldgen.runtime import derive_seed, log, track
from weldgen.synthesis.lora.adapter import add_adapter
from weldgen.synthesis.lora.base import noise_schedule
from weldgen.synthesis.lora.batches import Batch, Batches
from weldgen.synthesis.lora.checkpoint import Record, State, read_checkpoint, write_checkpoint
from weldgen.synthesis.lora.data import TrainingData
from weldgen.synthesis.lora.folder import PREVIEWS, TENSORBOARD
from weldgen.synthesis.lora.loss import diffusion_loss, min_snr_weights, training_target
from weldgen.synthesis.lora.machine import make_optimizer
from weldgen.synthesis.lora.preview import make_previews, row_of
from weldgen.synthesis.lora.settings import LoraConfig, TrainingSettings


def learning_rate(step: int, settings: TrainingSettings) -> float:
    """Learning rate of a step, from 0: a straight rise, then half a cosine or level."""
    warmup = round(settings.warmup * settings.steps)
    if step < warmup:
        return settings.lr * (step + 1) / (warmup + 1)
    if settings.schedule == "constant":
        return settings.lr
    return settings.lr * 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(1, settings.steps - warmup)))


class Training:
    """A training under way.

    Args:
        accelerator: Accelerate's device and processes.
        pipe: The base, its UNet without an adapter.
        data: Encoded photos and prompts.
        out: Folder of the LoRA; a checkpoint in it is taken up.
        config: Settings.

    Attributes:
        history: A record of each step: `step`, `loss`, `lr` and `norm` of the gradient before clipping.
        optimizer_name: `adamw` or `adam8bit`.
    """

    def __init__(self, accelerator: Any, pipe: Any, data: TrainingData, out: Path, config: LoraConfig) -> None:
        self.history: list[Record] = []
        self._accelerator, self._pipe, self._data, self._out, self._config = accelerator, pipe, data, out, config
        self._schedule = noise_schedule(pipe)
        self._batches = Batches(data, self._schedule, config)
        unet = pipe.unet.to(accelerator.device)
        with _own_randomness(accelerator):
            torch.manual_seed(derive_seed(config.seed, "adapter"))
            self._parameters = add_adapter(unet, config.adapter)
        if accelerator.device.type == "cpu":  # torch's fused attention is slow backwards there
            unet.set_attn_processor(AttnProcessor())
        if config.training.gradient_checkpointing:
            unet.enable_gradient_checkpointing()
        unet.train()
        optimizer, self.optimizer_name = make_optimizer(
            self._parameters.values(), config.training, str(accelerator.device)
        )
        self._restore(optimizer, read_checkpoint(out))
        self._unet, self._optimizer = accelerator.prepare(unet, optimizer)
        if self._scaler_state and accelerator.scaler is not None:
            accelerator.scaler.load_state_dict(self._scaler_state)

    def run(self) -> None:
        """Train from where it stands to the last step.

        Raises:
            BackendError: The loss is no number any more.
            OutputError: A checkpoint cannot be written.
        """
        settings, main = self._config.training, self._accelerator.is_main_process
        done = len(self.history)
        if done:
            log.info("going on after step %d", done)
        steps: Any = range(done, settings.steps)
        if main:
            steps = track(steps, total=settings.steps - done, description="lora", unit="steps")
        with _own_randomness(self._accelerator), self._writer(done) as writer:
            for step in steps:
                self.history.append(self._step(step))
                if main:
                    self._keep(step + 1, writer)

    def _step(self, step: int) -> Record:
        """One step of the optimizer."""
        settings, accelerator = self._config.training, self._accelerator
        rate = learning_rate(step, settings)
        for group in self._optimizer.param_groups:
            group["lr"] = rate
        total, norm = torch.zeros((), device=accelerator.device), torch.zeros(())
        for part in range(settings.accumulation):
            number = (step * settings.accumulation + part) * accelerator.num_processes + accelerator.process_index
            batch = self._batches.at(number)
            torch.manual_seed(derive_seed(self._config.seed, "dropout", number))
            with accelerator.accumulate(self._unet):
                loss = self._loss(batch)
                accelerator.backward(loss)
                if accelerator.sync_gradients:
                    norm = accelerator.clip_grad_norm_(self._parameters.values(), settings.clip_norm or math.inf)
                self._optimizer.step()
                self._optimizer.zero_grad()
            total += loss.detach() / settings.accumulation
        mean = float(accelerator.reduce(total, reduction="mean"))
        if not math.isfinite(mean):
            raise BackendError(
                f"the loss is {mean} at step {step + 1}", "lower training.lr, or set training.precision=fp32"
            )
        return {"step": step + 1, "loss": mean, "lr": rate, "norm": float(norm)}

    def _loss(self, batch: Batch) -> torch.Tensor:
        device, dtype = self._accelerator.device, self._pipe.unet.dtype
        noisy = self._schedule.add_noise(batch.latents, batch.noise, batch.timesteps)
        target = training_target(self._schedule, batch.latents, batch.noise, batch.timesteps)
        weights = min_snr_weights(self._schedule, batch.timesteps, self._config.training.snr_gamma)
        prediction = self._unet(
            noisy.to(device, dtype),
            batch.timesteps.to(device),
            encoder_hidden_states=batch.embeds.to(device, dtype),
            added_cond_kwargs={
                "text_embeds": batch.pooled.to(device, dtype),
                "time_ids": batch.time_ids.to(device),
            },
        ).sample
        return diffusion_loss(prediction, target.to(device), weights.to(device))

    def _keep(self, done: int, writer: Any) -> None:
        """Write the curves and, when it is time, validation images and a checkpoint."""
        logging, last = self._config.logging, done == self._config.training.steps
        for name in ("loss", "lr", "norm"):
            writer.add_scalar(f"train/{name}", self.history[-1][name], done)
        if logging.preview_every and (done % logging.preview_every == 0 or last):
            row = row_of(make_previews(self._pipe, self._data, self._config))
            writer.add_image("validation", row, done, dataformats="HWC")
            write_rgb(self._out / PREVIEWS / f"step_{done:06d}.png", row)
        if done % logging.checkpoint_every == 0 or last:
            scaler = self._accelerator.scaler
            state = State(
                done,
                self._parameters,
                self._optimizer.state_dict(),
                scaler.state_dict() if scaler else {},
                tuple(self.history),
            )
            write_checkpoint(self._out, state)

    def _restore(self, optimizer: Any, state: State | None) -> None:
        self._scaler_state = state.scaler if state else {}
        if state is None:
            return
        with torch.no_grad():
            for name, parameter in self._parameters.items():
                parameter.copy_(state.parameters[name])
        optimizer.load_state_dict(state.optimizer)
        self.history = list(state.history)

    @contextmanager
    def _writer(self, done: int) -> Iterator[Any]:
        """TensorBoard's writer on the main process; what an interrupted run wrote after its checkpoint is dropped."""
        if not self._accelerator.is_main_process:
            yield None
            return
        from torch.utils.tensorboard import SummaryWriter

        with SummaryWriter(str(self._out / TENSORBOARD), purge_step=done + 1 if done else None) as writer:
            yield writer


@contextmanager
def _own_randomness(accelerator: Any) -> Iterator[None]:
    """Whoever called gets torch's random state back as it was."""
    devices = [accelerator.device] if accelerator.device.type == "cuda" else []
    with torch.random.fork_rng(devices=devices):
        yield
