from tests.contracts.decoder_cache import DecoderCacheContract


class TestNative(DecoderCacheContract):
    pass
