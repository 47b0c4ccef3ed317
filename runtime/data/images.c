#include "runtime/data/images.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <xxhash.h>

#include "ir/base/file.h"
#include "ir/base/vec.h"
#include "runtime/data/corpus.h"
#include "runtime/data/sampler.h"

enum {
    SIDE = 32,
    PLANE = SIDE * SIDE,
    PIXELS = COL_IMAGE_CHANNELS * PLANE,
    RECORD = 1 + PIXELS,
    CLASSES = 10
};

static const float means[COL_IMAGE_CHANNELS] = {0.4914f, 0.4822f, 0.4465f};
static const float deviations[COL_IMAGE_CHANNELS] = {0.2470f, 0.2435f, 0.2616f};

/* One file, or synthetic images where there is no mapping. */
typedef struct source {
    col_mapping mapping;
    uint64_t first, count; /* images */
    uint64_t hash;
} source;

struct col_images {
    col_arena *arena;
    col_images_options options;
    COL_VEC(source) sources;
    uint64_t count, held_out; /* images; the last of them that are for validation */
};

/* What a file is that is no row of records, as far as that can be told; "" otherwise. */
static const char *known_as(const unsigned char *data, size_t size)
{
    if (size > 1 && data[0] == 0x1F && data[1] == 0x8B) return "; it is a gzip file: unpack it first";
    if (size > 1 && data[0] == 0x80 && data[1] <= 5)
        return "; it looks like the Python version: take the binary version of CIFAR-10";
    if (size % (RECORD + 1) == 0) return "; it looks like CIFAR-100, whose records have two labels";
    return "";
}

static col_status check_file(const col_images *images, const char *path, col_mapping mapping)
{
    const unsigned char *data = mapping.data;
    int64_t classes = images->options.classes;
    if (!mapping.size) return col_error_make(COL_BAD_INPUT, "'%s' is empty: copy it again", path);
    if (mapping.size % RECORD) {
        return col_error_make(
            COL_BAD_INPUT,
            "'%s': its %zu bytes are no whole number of CIFAR-10 records of %d bytes (a label, 3 x "
            "32 x 32 pixels): it is cut short or no binary file of CIFAR-10%s",
            path, mapping.size, RECORD, known_as(data, mapping.size));
    }
    for (size_t i = 0; i < mapping.size / RECORD; i++) {
        unsigned label = data[i * RECORD];
        if (label >= CLASSES) {
            return col_error_make(
                COL_BAD_INPUT,
                "'%s': record %zu has the label %u, and CIFAR-10's are 0 to %d: it is damaged or no "
                "binary file of CIFAR-10%s",
                path, i, label, CLASSES - 1, known_as(data, mapping.size));
        }
        if (classes && label >= classes) {
            return col_error_make(
                COL_BAD_INPUT,
                "'%s': record %zu has the label %u, and the model has %lld classes: compile it with "
                "--set classes=%d",
                path, i, label, (long long)classes, CLASSES);
        }
    }
    return NULL;
}

static void add_source(col_images *images, source s)
{
    s.first = images->count;
    images->count += s.count;
    col_vec_push(images->arena, &images->sources, s);
}

static col_status open_file(col_images *images, const char *path)
{
    const col_images_options *o = &images->options;
    col_mapping mapping;
    if (o->height != SIDE || o->width != SIDE) {
        return col_error_make(
            COL_BAD_INPUT,
            "the model takes images of %lld x %lld, and those of CIFAR-10 are %d x %d: compile it "
            "with --set size=%d",
            (long long)o->height, (long long)o->width, SIDE, SIDE, SIDE);
    }
    COL_TRY(col_file_map(path, &mapping));
    col_status status = check_file(images, path, mapping);
    if (status) {
        col_file_unmap(&mapping);
        return status;
    }
    add_source(images, (source){.mapping = mapping,
                                .count = mapping.size / RECORD,
                                .hash = XXH3_64bits(mapping.data, mapping.size)});
    return NULL;
}

static col_status open_batches(col_images *images, const char *folder)
{
    uint64_t before = images->count;
    for (int i = 1;; i++) {
        const char *path = col_arena_printf(images->arena, "%s/data_batch_%d.bin", folder, i);
        if (!col_file_exists(path)) break;
        COL_TRY(open_file(images, path));
    }
    if (images->count > before) return NULL;
    return col_error_make(
        COL_BAD_INPUT,
        "'%s' has no file data_batch_1.bin: name the folder with the binary version of CIFAR-10, or "
        "its files",
        folder);
}

static bool is_folder(const char *path)
{
    struct stat info;
    return !stat(path, &info) && S_ISDIR(info.st_mode);
}

static col_status open_source(col_images *images, const char *path)
{
    const col_images_options *o = &images->options;
    if (is_folder(path)) return open_batches(images, path);
    if (strcmp(path, COL_CORPUS_SYNTHETIC)) return open_file(images, path);
    uint64_t hash = col_mix64(o->seed ^ col_mix64((uint64_t)(o->height * o->width)));
    add_source(images, (source){.count = COL_IMAGES_SYNTHETIC_COUNT, .hash = hash});
    return NULL;
}

/* The test images of folders come last, whatever the order. */
static col_status open_all(col_images *images, const char *const *paths, size_t count)
{
    for (size_t i = 0; i < count; i++) COL_TRY(open_source(images, paths[i]));
    uint64_t training = images->count;
    for (size_t i = 0; i < count; i++) {
        const char *test = col_arena_printf(images->arena, "%s/test_batch.bin", paths[i]);
        if (is_folder(paths[i]) && col_file_exists(test)) COL_TRY(open_file(images, test));
    }
    images->held_out = images->count - training;
    return NULL;
}

col_status col_images_open(const char *const *paths, size_t count, const col_images_options *options,
                           col_images **out_images)
{
    if (!count) return col_error_make(COL_BAD_INPUT, "no images; name a file or folder, or 'synthetic'");
    col_arena *arena = col_arena_create();
    col_images *images = COL_NEW(arena, col_images);
    *images = (col_images){.arena = arena, .options = *options};
    col_status status = open_all(images, paths, count);
    if (status)
        col_images_close(images);
    else
        *out_images = images;
    return status;
}

void col_images_close(col_images *images)
{
    if (!images) return;
    for (size_t i = 0; i < images->sources.len; i++) col_file_unmap(&images->sources.data[i].mapping);
    col_arena_destroy(images->arena);
}

uint64_t col_images_count(const col_images *images)
{
    return images->count;
}

uint64_t col_images_fingerprint(const col_images *images)
{
    uint64_t hash = images->held_out;
    for (size_t i = 0; i < images->sources.len; i++)
        hash = col_mix64(hash ^ images->sources.data[i].hash) + images->sources.data[i].count;
    return hash;
}

/* Image `index` of a synthetic source. */
static void make_image(const col_images_options *o, uint64_t index, float *out_pixels, int32_t *out_label)
{
    int64_t pixels = COL_IMAGE_CHANNELS * o->height * o->width;
    uint64_t key = col_mix64(col_mix64(o->seed) ^ index),
             classes = (uint64_t)(o->classes ? o->classes : CLASSES);
    for (int64_t i = 0; i < pixels; i++) {
        float uniform = (float)(col_mix64(key + (uint64_t)i) >> 40) * 0x1p-23f - 1; /* in [-1, 1) */
        out_pixels[i] = uniform * 1.7320508f;
    }
    *out_label = (int32_t)(col_mix64(~key) % classes);
}

static void read_record(const unsigned char *record, float *out_pixels, int32_t *out_label)
{
    *out_label = record[0];
    for (int c = 0; c < COL_IMAGE_CHANNELS; c++) {
        for (int i = c * PLANE; i < (c + 1) * PLANE; i++)
            out_pixels[i] = ((float)record[1 + i] / 255 - means[c]) / deviations[c];
    }
}

void col_images_read(const col_images *images, uint64_t index, float *out_pixels, int32_t *out_label)
{
    COL_ASSERT(index < images->count);
    size_t at = images->sources.len - 1; /* few, and read in any order */
    while (images->sources.data[at].first > index) at--;
    const source *s = &images->sources.data[at];
    if (s->mapping.data)
        read_record(s->mapping.data + (index - s->first) * RECORD, out_pixels, out_label);
    else
        make_image(&images->options, index, out_pixels, out_label);
}

col_status col_images_split(const col_images *images, double fraction, col_image_range *out_train,
                            col_image_range *out_validation)
{
    if (!(fraction >= 0 && fraction < 1)) {
        return col_error_make(COL_BAD_INPUT, "--val-fraction is %g; it must be at least 0 and below 1",
                              fraction);
    }
    uint64_t train = images->count - images->held_out, held_out = images->held_out;
    if (!held_out) held_out = (uint64_t)((double)train * fraction);
    *out_train = (col_image_range){0, images->held_out ? train : train - held_out};
    *out_validation = (col_image_range){out_train->count, fraction > 0 ? held_out : 0};
    return NULL;
}
