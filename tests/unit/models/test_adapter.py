import gguf
import numpy as np

from pyruvllm.models.adapter import Lora, read_adapter, write_adapter
from tests.contracts.adapter import AdapterContract


class TestNative(AdapterContract):
    pass


def test_the_reference_reader_finds_what_was_written(tmp_path):
    a, b = np.arange(8, dtype=np.float32).reshape(2, 4), np.arange(6, dtype=np.float32).reshape(3, 2)
    path = tmp_path / "adapter.gguf"
    path.write_bytes(write_adapter(Lora(16.0, {"blk.0.attn_q": (a, b)}, "llama")))
    reader = gguf.GGUFReader(path)
    assert reader.fields[gguf.Keys.General.TYPE].contents() == gguf.GGUFType.ADAPTER
    assert reader.fields[gguf.Keys.Adapter.TYPE].contents() == "lora" and reader.fields[gguf.Keys.Adapter.LORA_ALPHA].contents() == 16.0
    found = {tensor.name: tensor.data for tensor in reader.tensors}
    assert np.array_equal(found["blk.0.attn_q.weight.lora_a"], a) and np.array_equal(found["blk.0.attn_q.weight.lora_b"], b)


def test_what_the_reference_writer_wrote_is_read(tmp_path):
    a, b = np.arange(8, dtype=np.float32).reshape(2, 4), np.arange(6, dtype=np.float16).reshape(3, 2)
    writer = gguf.GGUFWriter(tmp_path / "adapter.gguf", "llama")
    writer.add_type(gguf.GGUFType.ADAPTER)
    writer.add_string(gguf.Keys.Adapter.TYPE, "lora")
    writer.add_float32(gguf.Keys.Adapter.LORA_ALPHA, 8.0)
    writer.add_tensor("blk.0.attn_q.weight.lora_a", a)
    writer.add_tensor("blk.0.attn_q.weight.lora_b", b)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    lora = read_adapter((tmp_path / "adapter.gguf").read_bytes())
    assert (lora.alpha, lora.architecture, lora.scale("blk.0.attn_q")) == (8.0, "llama", 4.0)
    assert all(np.array_equal(mine, theirs) for mine, theirs in zip(lora.parts["blk.0.attn_q"], (a, b), strict=True))
