/* CIFAR-10's files and synthetic images: what is read, the parts, the order. Faults of files are in
 * tests/parity/resnet.py. */
#include "tests/unit/temporary_folder.h"
#include "runtime/data/images.h"
#include "runtime/data/sampler.h"

#include <math.h>

enum { PIXELS = 3 * 32 * 32, RECORD = 1 + PIXELS };

static const col_images_options cifar = {.height = 32, .width = 32, .classes = 10};

/* Images `first` to `first + count - 1`: image i has the label i % 10 and the pixels (i + 7 k) % 256. */
static void write_batch(folder *f, const char *name, int first, int count)
{
    unsigned char *bytes = malloc((size_t)count * RECORD);
    for (int i = 0; i < count; i++) {
        bytes[i * RECORD] = (unsigned char)((first + i) % 10);
        for (int k = 0; k < PIXELS; k++) bytes[i * RECORD + 1 + k] = (unsigned char)(first + i + 7 * k);
    }
    assert_ok(col_file_write(folder_file(f, name), bytes, (size_t)count * RECORD));
    free(bytes);
}

static col_images *open_images(const char *const *paths, size_t count, const col_images_options *options)
{
    col_images *images = NULL;
    assert_ok(col_images_open(paths, count, options, &images));
    return images;
}

/* Which image of write_batch this is. */
static int which(const float *pixels)
{
    return (int)lroundf((pixels[0] * 0.2470f + 0.4914f) * 255);
}

static void test_pixels(void **state)
{
    folder *f = *state;
    static const double means[] = {0.4914, 0.4822, 0.4465}, deviations[] = {0.2470, 0.2435, 0.2616};
    write_batch(f, "a.bin", 0, 3);
    write_batch(f, "b.bin", 3, 2);
    const char *paths[] = {folder_file(f, "a.bin"), folder_file(f, "b.bin")};
    col_images *images = open_images(paths, 2, &cifar);
    assert_int_equal(col_images_count(images), 5);
    float pixels[PIXELS];
    int32_t label;
    for (int i = 4; i >= 0; i--) {
        col_images_read(images, (uint64_t)i, pixels, &label);
        assert_int_equal(label, i);
        for (int k = 0; k < PIXELS; k++) {
            double want = ((i + 7 * k) % 256 / 255.0 - means[k / 1024]) / deviations[k / 1024];
            assert_true(fabs(pixels[k] - want) < 1e-5);
        }
    }
    uint64_t before = col_images_fingerprint(images);
    col_images_close(images);
    write_batch(f, "b.bin", 4, 2);
    images = open_images(paths, 2, &cifar);
    assert_true(col_images_fingerprint(images) != before);
    col_images_close(images);
}

static void expect_split(const col_images *images, double fraction, uint64_t train, uint64_t validation)
{
    col_image_range a, b;
    assert_ok(col_images_split(images, fraction, &a, &b));
    assert_int_equal(a.first, 0);
    assert_int_equal(a.count, train);
    assert_int_equal(b.count, validation);
    assert_true(b.count == 0 || b.first == a.count);
}

static void test_parts(void **state)
{
    folder *f = *state;
    write_batch(f, "data_batch_1.bin", 0, 12);
    write_batch(f, "data_batch_2.bin", 12, 8);
    const char *folder_path = f->path;
    col_images *images = open_images(&folder_path, 1, &cifar);
    expect_split(images, 0.1, 18, 2);
    expect_split(images, 0, 20, 0);
    col_images_close(images);
    write_batch(f, "test_batch.bin", 100, 5);
    images = open_images(&folder_path, 1, &cifar);
    expect_split(images, 0.1, 20, 5);
    expect_split(images, 0, 20, 0);
    float pixels[PIXELS];
    int32_t label;
    col_images_read(images, 20, pixels, &label);
    assert_int_equal(which(pixels), 100);
    col_image_range a, b;
    assert_fails(col_images_split(images, 1, &a, &b), COL_BAD_INPUT, "--val-fraction is 1");
    col_images_close(images);
    /* Test images stand behind those of all sources. */
    write_batch(f, "more.bin", 30, 2);
    const char *both[] = {f->path, folder_file(f, "more.bin")};
    images = open_images(both, 2, &cifar);
    expect_split(images, 0.1, 22, 5);
    col_images_close(images);
}

/* Every epoch has every image once; another epoch, and another seed, have another order. */
static void test_order(void **state)
{
    (void)state;
    enum { COUNT = 50 };
    int same_epoch = 0, same_seed = 0;
    for (uint64_t epoch = 0; epoch < 3; epoch++) {
        int seen[COUNT] = {0};
        for (uint64_t i = 0; i < COUNT; i++) {
            uint64_t at = col_shuffle(epoch * COUNT + i, COUNT, 5);
            assert_true(at < COUNT && !seen[at]++);
            same_epoch += at == col_shuffle((epoch + 1) * COUNT + i, COUNT, 5);
            same_seed += at == col_shuffle(epoch * COUNT + i, COUNT, 6);
        }
    }
    assert_true(same_epoch < 20 && same_seed < 20);
}

static void test_synthetic(void **state)
{
    (void)state;
    static const char *const paths[] = {"synthetic"};
    col_images_options options = {.height = 5, .width = 7, .classes = 4, .seed = 1};
    col_images *images = open_images(paths, 1, &options), *other;
    assert_int_equal(col_images_count(images), COL_IMAGES_SYNTHETIC_COUNT);
    float pixels[3 * 5 * 7], again[3 * 5 * 7];
    double sum = 0, squares = 0;
    int counts[4] = {0};
    int32_t label;
    for (uint64_t i = 0; i < COL_IMAGES_SYNTHETIC_COUNT; i++) {
        col_images_read(images, i, pixels, &label);
        assert_in_range(label, 0, 3);
        counts[label]++;
        for (size_t k = 0; k < COL_COUNT(pixels); k++) {
            sum += pixels[k];
            squares += pixels[k] * pixels[k];
        }
    }
    double n = COL_IMAGES_SYNTHETIC_COUNT * (double)COL_COUNT(pixels);
    assert_true(fabs(sum / n) < 0.01 && fabs(squares / n - 1) < 0.01);
    for (int i = 0; i < 4; i++) assert_in_range(counts[i], 1024 - 150, 1024 + 150);
    col_images_read(images, 3, pixels, &label);
    col_images_read(images, 3, again, &label);
    assert_memory_equal(pixels, again, sizeof pixels);
    options.seed = 2;
    other = open_images(paths, 1, &options);
    col_images_read(other, 3, again, &label);
    assert_memory_not_equal(pixels, again, sizeof pixels);
    col_images_close(other);
    col_images_close(images);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        FOLDER_TEST(test_pixels),
        FOLDER_TEST(test_parts),
        cmocka_unit_test(test_order),
        cmocka_unit_test(test_synthetic),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
