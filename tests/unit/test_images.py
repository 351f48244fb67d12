"""Safe decoding: rows B01 to B10 of the bad-input matrix, and the colours and turns of good ones."""

from __future__ import annotations

import io
import subprocess
import sys
import tempfile
import textwrap
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
from PIL import Image, ImageCms

from shared import images
from shared.errors import ImageTooLarge, UndecodableImage, UnsupportedFormat, VitrineError
from shared.images import CATALOGUE_FORMATS, ImageLimits
from tests import builders

LIMITS = ImageLimits()
CATALOGUE = ImageLimits(formats=CATALOGUE_FORMATS)
ROOT = Path(__file__).parents[2]

SOUND_JPEG = builders.jpeg(1)
REFUSED = {
    **{
        f"B01 {name}": (data, "undecodable_image" if name == "empty" else "unsupported_format")
        for name, data in builders.NOT_PICTURES.items()
    },
    "B01 jpeg start and nothing": (b"\xff\xd8\xff\xe0", "undecodable_image"),
    "B02 144 megapixels in 17 kB": (builders.png_bomb(12_000), "image_too_large"),
    "B02 400 megapixels in 48 kB": (builders.png_bomb(20_000), "image_too_large"),
    "B02 WebP canvas of 16,383 squared": (builders.webp_header(16_383, 16_383), "image_too_large"),
    "B02 too many bytes": (SOUND_JPEG + bytes(20_000_000), "image_too_large"),
    "B02 JPEG of 60 passes": (builders.jpeg_of_many_scans(60), "undecodable_image"),
    "B02 JPEG of 100,000 segments": (builders.jpeg_of_many_segments(100_000), "undecodable_image"),
    "B02 JPEG with a megabyte of fill": (
        SOUND_JPEG[:2] + b"\xff" * 10**6 + SOUND_JPEG[2:],
        "undecodable_image",
    ),
    "B02 GIF of 100,000 comments": (builders.gif_of_many_comments(100_000), "undecodable_image"),
    **{
        f"B03 {format} cut at {share:.0%}": (
            builders.cut(builders.encoded(builders.picture(2), format), share),
            "undecodable_image",
        )
        for format in ("JPEG", "PNG", "WEBP", "GIF", "AVIF", "HEIF", "BMP")
        for share in (0.3, 0.6, 0.95)
    },
    "B03 JPEG cut at 10%": (builders.cut(SOUND_JPEG, 0.1), "undecodable_image"),
    "B03 PNG cut at 10%": (
        builders.cut(builders.encoded(builders.picture(2), "PNG"), 0.1),
        "undecodable_image",
    ),
    "B03 PNG with a bad checksum": (builders.bad_checksum_png(), "undecodable_image"),
    "B03 PNG with a lying header": (builders.lying_png(), "undecodable_image"),
    "B05 32-bit numbers": (builders.encoded(np.full((32, 32), 2**20, np.int32), "TIFF"), "undecodable_image"),
    "B05 float with infinity": (
        builders.encoded(np.full((32, 32), np.inf, np.float32), "TIFF"),
        "undecodable_image",
    ),
    "B05 float without a number": (
        builders.encoded(np.full((32, 32), np.nan, np.float32), "TIFF"),
        "undecodable_image",
    ),
    "B08 1x1": (builders.encoded(builders.picture(width=1, height=1), "PNG"), "undecodable_image"),
    "B08 65,500x1": (builders.encoded(builders.picture(width=65_500, height=1), "PNG"), "image_too_large"),
    "B08 1x65,500": (builders.encoded(builders.picture(width=1, height=65_500), "PNG"), "image_too_large"),
    "compressed BMP": (
        builders.encoded(builders.picture(), "BMP")[:30] + b"\1\0\0\0" + bytes(99),
        "unsupported_format",
    ),
}


@pytest.mark.parametrize(("data", "code"), REFUSED.values(), ids=REFUSED.keys())
def test_bad_input_is_refused_with_its_code_and_spares_its_neighbours(data: bytes, code: str) -> None:
    def outcome(each: bytes) -> np.ndarray | VitrineError:
        try:
            return images.decode(each, CATALOGUE)
        except VitrineError as error:
            return error

    with ThreadPoolExecutor(3) as pool:
        before, refused, after = pool.map(outcome, [SOUND_JPEG, data, SOUND_JPEG])
    assert isinstance(refused, VitrineError)
    assert refused.code == code
    assert refused.message.endswith(".")
    assert len(refused.message) < 200
    for neighbour in (before, after):
        assert isinstance(neighbour, np.ndarray)
        assert builders.near(neighbour, builders.picture(1), 40)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("html", "web page"),
        ("svg", "SVG"),
        ("eps", "EPS"),
        ("pdf", "PDF"),
        ("zip", "zip"),
        ("text", "text file"),
        ("psd", "Photoshop"),
        ("video", "video"),
    ],
)
def test_message_names_what_was_sent_and_what_to_send(name: str, said: str) -> None:
    with pytest.raises(UnsupportedFormat) as caught:
        images.probe(builders.NOT_PICTURES[name], LIMITS)
    assert said in caught.value.message
    assert "send JPEG, PNG, WebP" in caught.value.message


def test_bombs_are_refused_without_memory() -> None:
    script = """
        import sys
        from shared import images
        from shared.errors import ImageTooLarge
        from tests import builders
        limits = images.ImageLimits()
        images.decode(builders.jpeg(), limits)
        bombs = [open(name, "rb").read() for name in sys.argv[1:]]
        before = peak_kb()
        for bomb in bombs:
            for use in (images.probe, images.decode, images.normalise):
                try:
                    use(bomb, limits)
                except ImageTooLarge:
                    continue
                raise SystemExit("a bomb was let through")
        print(peak_kb() - before)
    """
    grown = run_python(script, builders.png_bomb(20_000), builders.png_bomb(12_000))
    assert int(grown) < 50_000  # kB


#: getrusage's peak begins with what the process that started this one had; the kernel's own does not.
_PEAK = """
def peak_kb():
    with open("/proc/self/status") as status:
        return int(next(line for line in status if line.startswith("VmHWM")).split()[1])
"""


def run_python(script: str, *files: bytes) -> str:
    """Run a script in a fresh process; each of ``files`` becomes a path among its arguments."""
    with tempfile.TemporaryDirectory() as folder:
        paths = []
        for number, data in enumerate(files):
            paths.append(Path(folder) / str(number))
            paths[-1].write_bytes(data)
        done = subprocess.run(
            [sys.executable, "-c", _PEAK + textwrap.dedent(script), *map(str, paths)],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
        )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("format", ["GIF", "WEBP", "PNG", "AVIF"])
def test_animation_shows_its_first_frame(format: str) -> None:
    frames = [np.full((32, 48, 3), level, np.uint8) for level in (200, 100, 0)]
    data = builders.animation(format, frames)
    assert images.probe(data, LIMITS).animated
    assert builders.near(images.decode(data, LIMITS), frames[0])


def test_thousand_frames_cost_one() -> None:
    frames = [np.full((32, 32, 3), number % 256, np.uint8) for number in range(1_000)]
    data = builders.animation("GIF", frames)
    script = """
        import sys
        from shared import images
        data = open(sys.argv[1], "rb").read()
        limits = images.ImageLimits()
        assert images.probe(data, limits).animated
        assert (images.decode(data, limits) == 0).all()
        print(peak_kb())
    """
    assert int(run_python(script, data)) < 200_000  # kB


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "GIF", "AVIF", "HEIF", "BMP"])
def test_still_picture_is_probed(format: str) -> None:
    info = images.probe(builders.encoded(builders.gradient(), format), LIMITS)
    assert (info.format, info.width, info.height, info.animated) == (format, 96, 64, False)
    assert images.decode(builders.encoded(builders.gradient(), format), LIMITS).shape == (64, 96, 3)


def test_multi_picture_jpeg_is_a_jpeg() -> None:
    frames = [Image.fromarray(builders.gradient()) for _ in range(2)]
    data = builders.encoded(frames[0], "MPO", save_all=True, append_images=frames[1:], quality=95)
    info = images.probe(data, LIMITS)
    assert (info.format, info.animated) == ("JPEG", False)
    assert images.normalise(data, LIMITS).source_format == "JPEG"


def test_tiff_is_for_catalogues_only() -> None:
    data = builders.encoded(builders.picture(), "TIFF")
    with pytest.raises(UnsupportedFormat, match="a TIFF picture"):
        images.decode(data, LIMITS)
    assert builders.near(images.decode(data, CATALOGUE), builders.picture(), 0)


def test_heic_without_the_plugin_is_refused_by_name() -> None:
    script = """
        import sys
        sys.modules["pillow_heif"] = None
        from shared import images
        from shared.errors import UnsupportedFormat
        try:
            images.decode(open(sys.argv[1], "rb").read(), images.ImageLimits())
        except UnsupportedFormat as error:
            print(error)
    """
    said = run_python(script, builders.encoded(builders.picture(), "HEIF"))
    assert said.startswith("This is a HEIC picture: send JPEG, PNG,")
    assert "HEIC" not in said.partition(":")[2]


@pytest.mark.parametrize(
    ("needed_px", "wanted"),
    [
        (None, (1200, 1600)),
        (1000, (1200, 1600)),
        (600, (600, 800)),
        (599, (600, 800)),
        (300, (300, 400)),
        (10, (150, 200)),
    ],
)
def test_jpeg_is_decoded_smaller_but_never_below_what_is_needed(
    needed_px: int | None, wanted: tuple[int, int]
) -> None:
    data = builders.encoded(builders.gradient(1600, 1200))
    assert images.decode(data, LIMITS, needed_px).shape[:2] == wanted


def test_reduced_jpeg_looks_like_the_whole_one() -> None:
    data = builders.encoded(builders.gradient(1600, 1200))
    assert builders.near(images.decode(data, LIMITS, 300), builders.gradient(400, 300), 6)


def test_normalised_copy_holds_pixels_and_nothing_else() -> None:
    payload = b"<script>alert('vitrine')</script>"
    normalised = images.normalise(builders.polyglot(payload), LIMITS)
    for copy in (
        normalised.jpeg,
        images.rendition(builders.polyglot(payload), LIMITS, 64),
        images.rendition(builders.polyglot(payload), LIMITS, 64, "JPEG"),
    ):
        assert payload not in copy
        assert b"Exif" not in copy
        assert b"PK\x03\x04" not in copy
        with Image.open(io.BytesIO(copy)) as served:
            assert dict(served.getexif()) == {}
            assert not {"icc_profile", "comment", "exif", "xmp"} & set(served.info)
    assert builders.near(images.decode(normalised.jpeg, LIMITS), builders.picture(3), 60)


def test_normalised_copy_of_a_profiled_jpeg_has_no_profile() -> None:
    srgb = images.normalise(builders.encoded(builders.picture(), icc_profile=srgb_profile()), LIMITS)
    with Image.open(io.BytesIO(srgb.jpeg)) as served:
        assert "icc_profile" not in served.info
    assert builders.near(images.decode(srgb.jpeg, LIMITS), builders.picture(), 40)


def srgb_profile() -> bytes:
    return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def test_normalised_size_and_sampling() -> None:
    big = builders.encoded(builders.gradient(3000, 2000))
    normalised = images.normalise(big, LIMITS)
    assert (normalised.width, normalised.height, normalised.source_format) == (1280, 853, "JPEG")
    with Image.open(io.BytesIO(normalised.jpeg)) as served:
        assert served.size == (1280, 853)
        assert [(layer[1], layer[2]) for layer in vars(served)["layer"]] == [(1, 1)] * 3
    assert builders.near(images.decode(normalised.jpeg, LIMITS), builders.gradient(1280, 853), 6)
    small = images.normalise(builders.jpeg(), LIMITS)
    assert (small.width, small.height) == (96, 64)


def test_a_thin_rendition_keeps_a_pixel() -> None:
    thin = builders.encoded(builders.picture(width=16_000, height=16), "PNG")
    assert images.probe(images.rendition(thin, LIMITS, 320), ImageLimits(min_side_px=1)).width == 320


@pytest.mark.parametrize(("format", "start"), [("WEBP", b"RIFF"), ("JPEG", b"\xff\xd8\xff")])
def test_rendition_fits_its_side(format: Literal["WEBP", "JPEG"], start: bytes) -> None:
    copy = images.rendition(builders.encoded(builders.gradient(500, 900), "PNG"), LIMITS, 300, format)
    assert copy.startswith(start)
    assert images.decode(copy, LIMITS).shape == (300, 167, 3)


def test_limits_hold_at_their_edge() -> None:
    data = builders.encoded(builders.picture(width=100, height=50), "PNG")
    exact = ImageLimits(max_bytes=len(data), max_pixels=5_000, max_side_px=100, min_side_px=50)
    assert images.decode(data, exact).shape == (50, 100, 3)
    with pytest.raises(ImageTooLarge, match="megapixels"):
        images.decode(data, ImageLimits(max_pixels=4_999))
    with pytest.raises(ImageTooLarge, match="longer than 99"):
        images.decode(data, ImageLimits(max_side_px=99))
    with pytest.raises(ImageTooLarge, match="send a smaller one"):
        images.decode(data, ImageLimits(max_bytes=len(data) - 1))
    with pytest.raises(UndecodableImage, match="at least 51"):
        images.decode(data, ImageLimits(min_side_px=51))


def test_lack_of_memory_is_not_the_pictures_fault() -> None:
    script = """
        import resource, sys
        from shared import images
        from shared.errors import OutOfMemory
        limits = images.ImageLimits()
        big, small = (open(name, "rb").read() for name in sys.argv[1:])
        used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (used + 60_000_000, resource.RLIM_INFINITY))
        try:
            images.decode(big, limits)
        except OutOfMemory as error:
            print(error, images.decode(small, limits).shape)
    """
    big = builders.encoded(np.zeros((5_000, 5_000, 3), np.uint8), "PNG")
    said = run_python(script, big, builders.jpeg())
    assert said == "There is no memory left to read this picture: try again in a minute. (64, 96, 3)\n"


def test_flipped_bytes_never_raise_anything_of_theirs() -> None:
    random = np.random.default_rng(11)
    for format in ("JPEG", "PNG", "WEBP", "GIF", "AVIF", "HEIF", "BMP", "TIFF"):
        sound = builders.encoded(builders.picture(4), format)
        for _ in range(60):
            data = bytearray(sound)
            for place in random.integers(0, len(data), 6):
                data[place] = random.integers(0, 256)
            try:
                pixels = images.decode(bytes(data), CATALOGUE)
            except VitrineError:
                continue
            assert pixels.dtype == np.uint8
            assert pixels.ndim == 3


def test_threads_do_not_mix_pictures() -> None:
    files = [builders.encoded(builders.picture(seed), "PNG") for seed in range(24)]
    with ThreadPoolExecutor(8) as pool:
        for seed, found in enumerate(pool.map(lambda data: images.decode(data, LIMITS), files)):
            assert builders.near(found, builders.picture(seed), 0)
