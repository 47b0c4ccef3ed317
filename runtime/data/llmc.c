/* llm.c's token files: a header of 256 little-endian int32 (magic 20240520, version 1, number of tokens,
 * zeros), then the tokens as u16. */
#include "runtime/data/source.h"

#include <string.h>

enum { MAGIC = 20240520, VERSION = 1, HEADER_BYTES = 1024 };

static int32_t field(const unsigned char *data, size_t index)
{
    int32_t value;
    memcpy(&value, data + index * sizeof value, sizeof value);
    return value;
}

bool llmc_is_magic(const unsigned char *bytes, size_t size)
{
    return size >= sizeof(int32_t) && field(bytes, 0) == MAGIC;
}

static col_status check_header(const char *name, const unsigned char *data, size_t size)
{
    if (size < HEADER_BYTES || !llmc_is_magic(data, size)) {
        int magic = size >= sizeof(int32_t) ? field(data, 0) : 0;
        const char *known = magic == 20240522   ? " (it is one of multiple-choice tasks)"
                            : magic == 20240326 ? " (it is a model)"
                            : magic == 20240328 ? " (it is a tokenizer)"
                            : magic == 20240801 ? " (it has tokens of 32 bits, of Llama 3)"
                            : size < HEADER_BYTES && magic == MAGIC ? " (it is cut short)"
                                                                    : "";
        return col_error_make(
            COL_BAD_INPUT,
            "%s: not an llm.c token file of magic %d%s; make it again, or rename it if it is "
            "plain text",
            name, MAGIC, known);
    }
    if (field(data, 1) != VERSION) {
        return col_error_make(COL_BAD_INPUT,
                              "%s: version %d of llm.c's token files is not supported; only %d is", name,
                              field(data, 1), VERSION);
    }
    int32_t count = field(data, 2);
    if (count < 0 || size - HEADER_BYTES != (size_t)count * 2) {
        return col_error_make(
            COL_BAD_INPUT,
            "%s: its header says %d tokens, but %zu bytes follow it (2 a token); the file is cut "
            "short or damaged: make it again",
            name, count, size - HEADER_BYTES);
    }
    if (!count) return col_error_make(COL_BAD_INPUT, "%s: no token in it", name);
    return NULL;
}

col_status llmc_open(const char *name, col_mapping mapping, int64_t vocab_size, id_array *out_array)
{
    COL_TRY(check_header(name, mapping.data, mapping.size));
    id_array array = {.ids = mapping.data + HEADER_BYTES,
                      .width = 2,
                      .count = (uint64_t)field(mapping.data, 2),
                      .mapping = mapping};
    uint64_t bad = id_array_scan(&array, vocab_size ? vocab_size : INT64_MAX);
    if (bad < array.count) {
        uint16_t id;
        memcpy(&id, (const unsigned char *)array.ids + 2 * bad, sizeof id);
        return col_error_make(
            COL_BAD_INPUT,
            "%s: token %llu is %u, but the vocabulary has %lld; use the tokens of the model's "
            "own tokenizer, or a larger --set vocab",
            name, (unsigned long long)bad, id, (long long)vocab_size);
    }
    *out_array = array;
    return NULL;
}
