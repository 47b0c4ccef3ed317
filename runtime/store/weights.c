/* Which stored tensor is which variable, by name. All faults are found before any is reported. */
#include "runtime/store/weights.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ir/base/file.h"
#include "ir/base/map.h"
#include "ir/base/str.h"

/* Faults found while matching; some of each kind are named, the rest counted. */
enum { NAMED_FAULTS = 20, NAMED_SIZES = 8 };

typedef struct fault_list {
    col_str text;
    size_t count;
} fault_list;

typedef struct matcher {
    col_arena *arena;
    const col_safetensors *set;
    bool is_foreign;
    col_map *used; /* names of tensors that a variable takes */
    fault_list missing, different, extra;
} matcher;

static bool ends_with(const char *text, const char *end)
{
    size_t size = strlen(text), tail = strlen(end);
    return size >= tail && !strcmp(text + size - tail, end);
}

static bool starts_with(const char *text, const char *start)
{
    return !strncmp(text, start, strlen(start));
}

/* Other names. */

/* "conv2.weight" of a block, where `rest` begins with the part's kind. */
static const char *block_part(const char *rest, col_arena *arena)
{
    static const struct {
        const char *ours, *theirs;
    } parts[] = {{"conv1.", "layer.0.convolution."},         {"bn1.", "layer.0.normalization."},
                 {"conv2.", "layer.1.convolution."},         {"bn2.", "layer.1.normalization."},
                 {"conv3.", "layer.2.convolution."},         {"bn3.", "layer.2.normalization."},
                 {"downsample.0.", "shortcut.convolution."}, {"downsample.1.", "shortcut.normalization."}};
    for (size_t i = 0; i < COL_COUNT(parts); i++) {
        if (starts_with(rest, parts[i].ours))
            return col_arena_printf(arena, "%s%s", parts[i].theirs, rest + strlen(parts[i].ours));
    }
    return NULL;
}

const char *col_weights_resnet_name(const char *name, col_arena *arena)
{
    static const struct {
        const char *ours, *theirs;
    } ends[] = {{"conv1.", "resnet.embedder.embedder.convolution."},
                {"bn1.", "resnet.embedder.embedder.normalization."},
                {"fc.", "classifier.1."}};
    for (size_t i = 0; i < COL_COUNT(ends); i++) {
        if (starts_with(name, ends[i].ours))
            return col_arena_printf(arena, "%s%s", ends[i].theirs, name + strlen(ends[i].ours));
    }
    unsigned stage = 0, block = 0;
    int used = 0;
    if (sscanf(name, "layer%3u.%6u.%n", &stage, &block, &used) != 2 || !used || !stage) return NULL;
    const char *part = block_part(name + used, arena);
    return part ? col_arena_printf(arena, "resnet.encoder.stages.%u.layers.%u.%s", stage - 1, block, part)
                : NULL;
}

/* As TensorFlow's checkpoints call the parts of a norm, or NULL. */
static const char *tensorflow_name(const char *name, col_arena *arena)
{
    static const char *const ends[][2] = {{"LayerNorm.weight", "LayerNorm.gamma"},
                                          {"LayerNorm.bias", "LayerNorm.beta"}};
    for (size_t i = 0; i < COL_COUNT(ends); i++) {
        if (ends_with(name, ends[i][0]))
            return col_arena_printf(arena, "%.*s%s", (int)(strlen(name) - strlen(ends[i][0])), name,
                                    ends[i][1]);
    }
    return NULL;
}

static const col_stored_tensor *find(const matcher *m, const char *name)
{
    static const char *const prefixes[] = {"transformer.", "model.", "bert.", "vit."};
    if (!m->is_foreign) return col_safetensors_find(m->set, name);
    const char *names[] = {name, tensorflow_name(name, m->arena), col_weights_resnet_name(name, m->arena)};
    const col_stored_tensor *t = NULL;
    for (size_t i = 0; i < COL_COUNT(names) && !t; i++) {
        if (names[i]) t = col_safetensors_find_prefixed(m->set, names[i], prefixes, COL_COUNT(prefixes));
    }
    return t;
}

/* Matching. */

static void add_fault(fault_list *list, const char *text)
{
    if (list->count++ < NAMED_FAULTS) col_str_printf(&list->text, "%s%s", list->count > 1 ? ", " : "", text);
}

static const char *type_text(col_arena *arena, col_store_dtype dtype, uint32_t rank, const int64_t *shape)
{
    const char *text = col_arena_printf(arena, "%s[", col_store_dtype_name(dtype));
    for (uint32_t i = 0; i < rank && i <= NAMED_SIZES; i++) {
        text = i < NAMED_SIZES ? col_arena_printf(arena, "%s%s%lld", text, i ? ", " : "", (long long)shape[i])
                               : col_arena_printf(arena, "%s, ...", text);
    }
    return col_arena_printf(arena, "%s]", text);
}

static bool same_shape(const col_stored_tensor *t, uint32_t rank, const int64_t *shape)
{
    return t->rank == rank && (!rank || !memcmp(t->shape, shape, rank * sizeof *shape));
}

static bool fits(const matcher *m, const col_wanted_tensor *w, const col_stored_tensor *t)
{
    bool is_widened = m->is_foreign && w->dtype == COL_STORE_F32 &&
                      (t->dtype == COL_STORE_F16 || t->dtype == COL_STORE_BF16);
    return (t->dtype == w->dtype || is_widened) && same_shape(t, w->rank, w->shape);
}

static const col_stored_tensor *match_one(matcher *m, const col_wanted_tensor *w)
{
    const col_stored_tensor *t = find(m, w->name);
    const char *wanted = type_text(m->arena, w->dtype, w->rank, w->shape);
    if (!t) {
        add_fault(&m->missing, col_arena_printf(m->arena, "'%s' %s", w->name, wanted));
        return NULL;
    }
    col_map_set(m->used, t->name, (void *)(uintptr_t)t);
    if (!fits(m, w, t)) {
        add_fault(&m->different, col_arena_printf(m->arena, "'%s' is %s and should be %s", w->name,
                                                  type_text(m->arena, t->dtype, t->rank, t->shape), wanted));
    }
    return t;
}

/* Whether the values are those of a tensor that a variable takes: a name of its own for what is tied. */
static bool is_copy(const matcher *m, const col_stored_tensor *t)
{
    for (size_t i = 0; i < m->used->len; i++) {
        const col_stored_tensor *other = m->used->entries[i].value;
        if (other->dtype == t->dtype && same_shape(other, t->rank, t->shape) &&
            !memcmp(other->data, t->data, t->bytes))
            return true;
    }
    return false;
}

static bool is_superfluous(const matcher *m, const col_stored_tensor *t)
{
    static const char *const buffers[] = {".num_batches_tracked", ".attn.bias", ".attn.masked_bias",
                                          "embeddings.position_ids"};
    static const char *const tied[] = {"lm_head.weight", "cls.predictions.decoder.weight",
                                       "cls.predictions.decoder.bias"};
    static const struct {
        const char *start, *beside; /* a head, and what a model has that does without */
    } heads[] = {{"bert.pooler.dense.", "cls.predictions.bias"},
                 {"cls.seq_relationship.", "cls.predictions.bias"},
                 {"vit.pooler.dense.", "vit.layernorm.weight"}};
    if (!m->is_foreign) return true;
    for (size_t i = 0; i < COL_COUNT(buffers); i++) {
        if (ends_with(t->name, buffers[i])) return false;
    }
    for (size_t i = 0; i < COL_COUNT(heads); i++) {
        if (starts_with(t->name, heads[i].start) && col_map_get(m->used, heads[i].beside)) return false;
    }
    for (size_t i = 0; i < COL_COUNT(tied); i++) {
        if (ends_with(t->name, tied[i])) return !is_copy(m, t);
    }
    return true;
}

static void print_faults(col_str *out, fault_list *list, const char *what)
{
    if (list->count) {
        col_str_printf(out, "%s%zu %s: %s%s", out->len ? "; " : "", list->count, what,
                       col_str_text(&list->text), list->count > NAMED_FAULTS ? ", ..." : "");
    }
    col_str_fini(&list->text);
}

static col_status faults_status(matcher *m, const char *path, const char *remedy)
{
    col_str text = {0};
    print_faults(&text, &m->missing, "missing");
    print_faults(&text, &m->different, "of another shape or type");
    print_faults(&text, &m->extra, "that the model lacks");
    col_status status = NULL;
    if (text.len) {
        status = col_error_make(COL_BAD_INPUT, "the tensors of '%s' are not those of the model: %s. %s", path,
                                text.data, remedy);
    }
    col_str_fini(&text);
    return status;
}

col_status col_weights_match(const col_safetensors *set, const char *path, const col_wanted_tensor *wanted,
                             size_t count, col_weights_rule rule, col_arena *arena,
                             const col_stored_tensor **out_tensors)
{
    matcher m = {.arena = arena, .set = set, .is_foreign = rule.is_foreign, .used = col_map_create(arena)};
    for (size_t i = 0; i < count; i++) out_tensors[i] = match_one(&m, &wanted[i]);
    for (size_t i = 0; i < col_safetensors_count(set); i++) {
        const col_stored_tensor *t = col_safetensors_at(set, i);
        if (!col_map_get(m.used, t->name) && is_superfluous(&m, t))
            add_fault(&m.extra, col_arena_printf(arena, "'%s'", t->name));
    }
    return faults_status(&m, path, rule.remedy);
}

col_status col_weights_confine(const char *folder, const char *path)
{
    if (!col_file_exists(path) || col_file_is_below(folder, path)) return NULL;
    char *real = realpath(folder, NULL);
    col_str blobs = {0};
    col_str_append(&blobs, real ? real : "");
    free(real);
    char *revision = blobs.data ? strrchr(blobs.data, '/') : NULL;
    if (revision) *revision = '\0';
    bool is_snapshot = revision && ends_with(blobs.data, "/snapshots");
    if (is_snapshot) strcpy(strrchr(blobs.data, '/'), "/blobs"); /* shorter */
    bool is_blob = is_snapshot && col_file_is_below(blobs.data, path);
    col_str_fini(&blobs);
    if (is_blob) return NULL;
    return col_error_make(COL_BAD_INPUT,
                          "'%s' links to a file outside its folder: put the file itself there (cp -L)", path);
}

/* Wider types. */

/* IEEE 754: binary16 has a sign, 5 bits of exponent (bias 15) and 10 of fraction; binary32 1, 8 (127) and 23. */
static uint32_t widen_f16(uint16_t half)
{
    uint32_t sign = (uint32_t)(half & 0x8000) << 16, exponent = half >> 10 & 31, fraction = half & 0x3ff;
    if (exponent == 31) return sign | 0x7f800000 | fraction << 13;
    if (exponent) return sign | (exponent + 112) << 23 | fraction << 13;
    float value = (float)fraction * 0x1p-24f; /* subnormal, or zero */
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    return sign | bits;
}

void col_weights_widen(col_store_dtype dtype, const void *from, size_t count, float *to)
{
    COL_ASSERT(dtype == COL_STORE_F16 || dtype == COL_STORE_BF16);
    for (size_t i = 0; i < count; i++) {
        uint16_t narrow; /* perhaps unaligned */
        memcpy(&narrow, (const char *)from + 2 * i, sizeof narrow);
        uint32_t bits = dtype == COL_STORE_F16 ? widen_f16(narrow) : (uint32_t)narrow << 16;
        memcpy(&to[i], &bits, sizeof bits);
    }
}
