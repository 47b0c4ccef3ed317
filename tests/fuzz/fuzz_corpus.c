/* What a corpus is read from, by the first byte of the input: 'c' the file of a cache, 'b' an llm.c token
 * file, 't' plain text and 'j' JSON lines, these two also in blocks of the size that the second byte says,
 * which must change nothing. The tokenizer is that of bytes, so that what is read is known. */
#include "runtime/data/source.h"
#include "tests/fuzz/tokenizer_checks.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static col_status append(void *context, const int32_t *ids, size_t count)
{
    col_str_append_bytes(context, ids, count * sizeof *ids);
    return NULL;
}

static bool ingest_all(const col_tokenizer *tokenizer, text_format format, const uint8_t *data, size_t size,
                       size_t block, col_str *out)
{
    ingest in;
    col_status status = ingest_init(&in, "input", format, tokenizer, append, out);
    for (size_t at = 0; !status && at < size; at += block) {
        status = ingest_feed(&in, (const char *)data + at, COL_MIN(block, size - at));
    }
    if (!status) status = ingest_finish(&in);
    ingest_fini(&in);
    return !check_error(status);
}

static void run_text(const col_tokenizer *tokenizer, text_format format, const uint8_t *data, size_t size)
{
    if (!size) return;
    col_str whole = {0}, blocks = {0};
    bool good = ingest_all(tokenizer, format, data + 1, size - 1, size, &whole);
    COL_ASSERT(good == ingest_all(tokenizer, format, data + 1, size - 1, 1 + data[0] % 64, &blocks));
    if (good) COL_ASSERT(whole.len == blocks.len && !memcmp(whole.data, blocks.data, whole.len));
    if (format == TEXT_PLAIN) COL_ASSERT(good && whole.len == size * sizeof(int32_t));
    col_str_fini(&whole);
    col_str_fini(&blocks);
}

/* The checksum, which a fuzzer does not find, is put right when the last byte of the record is 1. */
static void run_cache(const col_tokenizer *tokenizer, const uint8_t *data, size_t size)
{
    col_str file = {0};
    cache_record record;
    id_array array;
    col_str_append_bytes(&file, data, size);
    if (size >= sizeof record && data[size - 1] == 1) {
        memcpy(&record, file.data + size - sizeof record, sizeof record);
        memcpy(record.magic, "colctok\n", sizeof record.magic);
        record.tokenizer = col_tokenizer_fingerprint(tokenizer);
        record.ids_hash = XXH3_64bits(data, size - sizeof record);
        record.own_hash = XXH3_64bits(&record, offsetof(cache_record, own_hash));
        memcpy(file.data + size - sizeof record, &record, sizeof record);
    }
    if (!cache_parse((const unsigned char *)col_str_text(&file), size, TEXT_PLAIN, tokenizer, &record,
                     &array)) {
        COL_ASSERT(array.width == 2 && array.count * 2 + sizeof record == size);
        for (size_t i = 0; i < array.count; i++) COL_ASSERT(((const uint16_t *)array.ids)[i] <= 256);
    }
    col_str_fini(&file);
}

static void run_llmc(const uint8_t *data, size_t size)
{
    col_str file = {0}; /* aligned, as a mapping is */
    col_str_append_bytes(&file, data, size);
    col_mapping mapping = {(const unsigned char *)file.data, size};
    id_array array;
    if (!check_error(llmc_open("input", mapping, 1000, &array))) {
        COL_ASSERT(1024 + array.count * 2 == size);
        for (size_t i = 0; i < array.count; i++) COL_ASSERT(((const uint16_t *)array.ids)[i] < 1000);
    }
    col_str_fini(&file);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (!size || size > 1 << 16) return 0;
    col_tokenizer *tokenizer = col_tokenizer_bytes();
    switch (data[0]) {
    case 'c': run_cache(tokenizer, data + 1, size - 1); break;
    case 'b': run_llmc(data + 1, size - 1); break;
    case 't': run_text(tokenizer, TEXT_PLAIN, data + 1, size - 1); break;
    case 'j': run_text(tokenizer, TEXT_JSON_LINES, data + 1, size - 1); break;
    }
    col_tokenizer_destroy(tokenizer);
    return 0;
}
