"""A video's sound, taken over into an MP4 beside its pictures."""

from __future__ import annotations

from fractions import Fraction

import av
import av.error
from av.audio.frame import AudioFrame
from av.audio.resampler import AudioResampler
from av.audio.stream import AudioStream
from av.codec import Codec
from av.container import InputContainer, OutputContainer

from service.media.timeline import Timeline
from service.media.video_process import Stretch, VideoFacts

# What MP4 players everywhere play is taken over as it is, MP3 from the rate on that MP4 allows; the rest becomes AAC.
KEPT_SOUND = {"aac": 0, "mp3": 16_000}


class SoundTrack:
    """A source's first sound, taken over little by little, so that neither it nor the pictures run ahead.

    What of it is damaged leaves a gap.
    """

    def __init__(self, source: InputContainer, target: OutputContainer, facts: VideoFacts, stretch: Stretch) -> None:
        """`source` is a container of the track's own."""
        self._target, self._start = target, facts.start
        self._source = source.streams.audio[0]
        rate = self._source.rate or 48_000
        self._copies = rate >= KEPT_SOUND.get(self._source.codec_context.codec.canonical_name, rate + 1)
        if self._copies:
            self._stream: AudioStream = target.add_stream_from_template(self._source)
        else:
            self._stream = target.add_stream("aac", rate=find_rate(rate))
            self._stream.layout = "mono" if self._source.channels == 1 else "stereo"
            self._resampler = self._make_resampler()
        self._base = Fraction(self._source.time_base or Fraction(1, av.time_base))
        self._timeline = Timeline(facts.end / float(self._base))
        self._first, self._after = (edge / float(self._base) for edge in (stretch.start, stretch.end))
        self._packets = source.demux(self._source)
        self._next: tuple[av.Packet[AudioStream], int] | None = None

    def copy_until(self, seconds: float) -> None:
        """Take over what is heard up to this time since the stretch's start. Raises OSError for a failed write."""
        while True:
            if self._next is None:
                packet = self._read()
                if packet is None:
                    return
                step = packet.duration or round(Fraction(1024, self._stream.rate) / self._base)
                told = None if packet.pts is None else packet.pts - round(self._start / self._base)
                ticks = self._timeline.place(told, step)
                if packet.size and not self._first < ticks + step <= self._after:
                    continue  # before the stretch, or behind it
                self._next = packet, max(0, ticks - round(self._first))
            packet, ticks = self._next
            if packet.size and ticks * self._base > seconds:
                return
            self._next = None
            try:
                self._take(packet, ticks)
            except (av.error.ArgumentError, av.error.InvalidDataError):
                continue

    def _read(self) -> av.Packet[AudioStream] | None:
        while True:
            try:
                return next(self._packets, None)
            except (av.error.EOFError, MemoryError):
                raise
            except av.error.FFmpegError:
                continue

    def _take(self, packet: av.Packet[AudioStream], ticks: int) -> None:
        if self._copies:
            if packet.size:  # the last one is empty
                packet.pts = packet.dts = ticks
                packet.time_base, packet.stream = self._base, self._stream
                self._target.mux(packet)
            return
        packet.pts, packet.time_base = ticks, self._base
        for frame in self._source.codec_context.decode(packet):
            for resampled in self._resample(frame):
                self._target.mux(self._stream.encode(resampled))
        if not packet.size:
            self._target.mux(self._stream.encode(None))

    def _resample(self, frame: AudioFrame) -> list[AudioFrame]:
        try:
            return self._resampler.resample(frame)
        except ValueError:  # its rate or its channels changed
            self._resampler = self._make_resampler()
            return self._resampler.resample(frame)

    def _make_resampler(self) -> AudioResampler:
        return AudioResampler("fltp", self._stream.layout, self._stream.rate)


def find_rate(rate: int) -> int:
    """The sample rate nearest to this one that AAC has."""
    return min(Codec("aac", "w").audio_rates or [48_000], key=lambda each: abs(each - rate))
