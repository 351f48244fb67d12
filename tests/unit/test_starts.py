"""Starting points: what a file held is what the model computes, with its batch norm open again."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from worker.training.starts import open_batch_norm
from worker.vision.efficientnet_lite import EfficientNetLiteEmbedder, rename_published
from worker.vision.resnet import RESNETS, ResNetConfig, ResNetEmbedder

pytestmark = pytest.mark.slow

SMALL = ResNetConfig(layers=(1, 1, 1, 1), width=0.125, stem=8, dim=16)


def folded(norm: nn.BatchNorm2d, bias: Tensor) -> None:
    """Make a batch norm stand for a folded bias alone."""
    with torch.no_grad():
        norm.running_mean.zero_()
        norm.running_var.fill_(1 - norm.eps)
        norm.weight.fill_(1)
        norm.bias.copy_(bias)


def test_opening_batch_norm_keeps_the_function_in_both_modes() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(3, 8, 3, bias=False),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.Conv2d(8, 4, 1, bias=False),
        nn.BatchNorm2d(4),
    )
    biases = torch.randn(8), torch.randn(4)
    folded(model[1], biases[0])
    folded(model[4], biases[1])
    pictures = torch.randn(64, 3, 12, 12) * 20 + 5
    model.eval()
    before = model(pictures)
    open_batch_norm(
        model, {model[1]: (model[0], biases[0]), model[4]: (model[3], biases[1])}, pictures.split(16)
    )
    assert not model.training
    torch.testing.assert_close(model(pictures), before, rtol=1e-4, atol=1e-3)
    model.train()
    torch.testing.assert_close(model(pictures), before, rtol=1e-2, atol=2e-2)
    assert float(model[1].running_var.min()) > 1


def test_a_batch_norm_that_sees_no_picture_is_an_error() -> None:
    model = nn.Sequential(nn.Conv2d(3, 2, 1, bias=False), nn.BatchNorm2d(2))
    stranger = nn.BatchNorm2d(2)
    with pytest.raises(ValueError, match="got no input"):
        open_batch_norm(model, {stranger: (model[0], torch.zeros(2))}, [torch.zeros(1, 3, 4, 4)])


def test_the_half_width_resnet_comes_back_from_its_onnx(tmp_path: Path) -> None:
    onnx = pytest.importorskip("onnx", reason="reading a start needs onnx: a training dependency")
    from worker.training.starts import start_resnet

    torch.manual_seed(1)
    reference = ResNetEmbedder(RESNETS["resnet50-half-caffe"])
    pairs = [(reference.conv1, reference.bn1)]
    for stage in (reference.layer1, reference.layer2, reference.layer3, reference.layer4):
        for block in stage:
            if block.downsample is not None:
                pairs.append((block.downsample[0], block.downsample[1]))
            pairs += [(block.conv1, block.bn1), (block.conv2, block.bn2), (block.conv3, block.bn3)]
    nodes, constants = [], []
    for index, (conv, norm) in enumerate(pairs):
        bias = torch.randn(norm.num_features) * 0.1
        folded(norm, bias)
        for name, value in ((f"w{index}", conv.weight), (f"b{index}", bias)):
            constants.append(onnx.numpy_helper.from_array(value.detach().numpy(), name))
        nodes.append(
            onnx.helper.make_node("Conv", [f"x{index}", f"w{index}", f"b{index}"], [f"x{index + 1}"])
        )
    graph = onnx.helper.make_graph(nodes, "folded", [], [], constants)
    onnx.save(onnx.helper.make_model(graph), str(tmp_path / "start.onnx"))

    pictures = torch.randn(6, 3, 64, 64) * 40
    with torch.no_grad():
        started = start_resnet(tmp_path / "start.onnx", pictures.split(3)).eval()
        expected, got = reference.eval().pooled(pictures), started.pooled(pictures)
    torch.testing.assert_close(got, expected, rtol=1e-3, atol=1e-3 * float(expected.abs().max()))


@pytest.mark.parametrize("name", sorted(RESNETS))
def test_every_resnet_gives_unit_embeddings(name: str) -> None:
    model = ResNetEmbedder(RESNETS[name]).eval()
    with torch.no_grad():
        embeddings = model(torch.randn(2, 3, 64, 64))
    assert embeddings.shape == (2, 256)
    torch.testing.assert_close(embeddings.norm(dim=1), torch.ones(2))


def test_no_pictures_give_no_embeddings() -> None:
    with torch.no_grad():
        assert ResNetEmbedder(SMALL).eval()(torch.zeros(0, 3, 64, 64)).shape == (0, 16)
        assert EfficientNetLiteEmbedder().eval()(torch.zeros(0, 3, 64, 64)).shape == (0, 256)


def test_published_lite_names_cover_the_whole_trunk() -> None:
    model = EfficientNetLiteEmbedder()
    back = {"stem": "_conv_stem", "stem_norm": "_bn0", "top": "_conv_head", "top_norm": "_bn1"}
    inner = {
        "expand": "_expand_conv",
        "expand_norm": "_bn0",
        "depthwise": "_depthwise_conv",
        "depthwise_norm": "_bn1",
        "project": "_project_conv",
        "project_norm": "_bn2",
    }
    published = {"_fc.weight": torch.zeros(1), "_fc.bias": torch.zeros(1)}
    for key, value in model.state_dict().items():
        parts = key.split(".")
        if parts[0] == "blocks":
            published[f"_blocks.{parts[1]}.{inner[parts[2]]}.{parts[3]}"] = value
        elif parts[0] in back:
            published[f"{back[parts[0]]}.{parts[1]}"] = value
    result = model.load_state_dict(rename_published(published), strict=False)
    assert sorted(result.missing_keys) == ["head.bias", "head.weight"]
    assert not result.unexpected_keys


def test_lite_output_is_ceil_of_half_at_odd_sizes() -> None:
    model = EfficientNetLiteEmbedder().eval()
    with torch.no_grad():
        assert model.stem(torch.zeros(1, 3, 33, 50)).shape[2:] == (17, 25)
        torch.testing.assert_close(model(torch.randn(2, 3, 70, 95)).norm(dim=1), torch.ones(2))
