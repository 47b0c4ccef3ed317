#include "ir/plan/plan_io.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <xxhash.h>

#include "ir/base/file.h"
#include "ir/plan/plan_verify.h"

static const char MAGIC[8] = {'c', 'o', 'l', 'c', 'p', 'l', 'a', 'n'};

typedef struct header {
    char magic[8];
    uint32_t version;
    uint32_t zero;
    uint64_t size;
    uint64_t hash;
} header;
_Static_assert(sizeof(header) == 32, "the header has no padding");

col_status col_plan_write(const col_plan *plan, const char *path)
{
    size_t size = col__plan__plan__get_packed_size(plan);
    uint8_t *message = malloc(size ? size : 1);
    if (!message) col_out_of_memory(size);
    col__plan__plan__pack(plan, message);
    header h = {.version = COL_PLAN_VERSION, .size = size, .hash = XXH3_64bits(message, size)};
    memcpy(h.magic, MAGIC, sizeof MAGIC);
    col_writer *writer = NULL;
    col_status status = col_writer_open(path, &writer);
    if (!status) {
        status = col_writer_write(writer, &h, sizeof h);
        if (!status) status = col_writer_write(writer, message, size);
        if (status)
            col_writer_discard(writer);
        else
            status = col_writer_commit(writer);
    }
    free(message);
    return status;
}

static col_status check_header(const char *name, const void *data, size_t size, header *h)
{
    if (size < sizeof *h || memcmp(data, MAGIC, COL_MIN(size, sizeof MAGIC))) {
        return col_error_make(COL_BAD_INPUT, "'%s' is not a plan: make one with 'colc compile'", name);
    }
    memcpy(h, data, sizeof *h);
    if (h->version != COL_PLAN_VERSION) {
        return col_error_make(COL_BAD_INPUT,
                              "'%s' is a plan of version %u; this program reads version %d: compile it again",
                              name, h->version, COL_PLAN_VERSION);
    }
    if (h->zero || h->size != size - sizeof *h) {
        return col_error_make(
            COL_BAD_INPUT,
            "'%s' is damaged: %zu bytes follow the header, %llu are announced; compile it again", name,
            size - sizeof *h, (unsigned long long)h->size);
    }
    return NULL;
}

col_status col_plan_parse(const char *name, const void *data, size_t size, col_plan **out_plan)
{
    header h;
    COL_TRY(check_header(name, data, size, &h));
    const uint8_t *message = (const uint8_t *)data + sizeof h;
    if (XXH3_64bits(message, (size_t)h.size) != h.hash) {
        return col_error_make(COL_BAD_INPUT, "'%s' is damaged: its checksum does not match; compile it again",
                              name);
    }
    col_plan *plan = col__plan__plan__unpack(NULL, (size_t)h.size, message);
    if (!plan)
        return col_error_make(COL_BAD_INPUT, "'%s' is damaged: not a protobuf message of a plan", name);
    col_status status = col_error_annotate(col_plan_verify(plan), "'%s' is not a sound plan", name);
    if (status)
        col_plan_free(plan);
    else
        *out_plan = plan;
    return status;
}

col_status col_plan_read(const char *path, col_plan **out_plan)
{
    col_mapping file;
    COL_TRY(col_file_map(path, &file));
    col_status status = col_plan_parse(path, file.data, file.size, out_plan);
    col_file_unmap(&file);
    return status;
}

uint64_t col_plan_hash(const col_plan *plan)
{
    col_plan untimed = *plan;
    untimed.n_passes = 0;
    untimed.compile_seconds = 0;
    size_t size = col__plan__plan__get_packed_size(&untimed);
    uint8_t *message = malloc(size ? size : 1);
    if (!message) col_out_of_memory(size);
    col__plan__plan__pack(&untimed, message);
    uint64_t hash = XXH3_64bits(message, size);
    free(message);
    return hash;
}

bool col_plan_is_file(const char *path)
{
    char magic[sizeof MAGIC] = {0};
    FILE *file = fopen(path, "rb");
    if (!file) return false;
    bool plan = fread(magic, 1, sizeof magic, file) == sizeof magic && !memcmp(magic, MAGIC, sizeof magic);
    fclose(file);
    return plan;
}

void col_plan_free(col_plan *plan)
{
    if (plan) col__plan__plan__free_unpacked(plan, NULL);
}
