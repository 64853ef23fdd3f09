from tests.contracts.decoder import DecoderContract


class TestPyodide(DecoderContract):
    pass
