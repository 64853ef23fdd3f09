from tests.contracts.decoder import DecoderContract


class TestNative(DecoderContract):
    pass
