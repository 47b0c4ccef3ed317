/* Weights by other names and in smaller types. Names are those that transformers and torchvision write. */
#include "tests/unit/temporary_folder.h"
#include "runtime/store/weights.h"

#include <math.h>

/* By the definition of the types: fractions of powers of two, summed in double. */
static double half_value(uint16_t bits)
{
    int exponent = bits >> 10 & 31, fraction = bits & 1023;
    double value = exponent ? ldexp(1024 + fraction, exponent - 25) : ldexp(fraction, -24);
    if (exponent == 31) value = fraction ? NAN : INFINITY;
    return bits & 0x8000 ? -value : value;
}

static double bfloat_value(uint16_t bits)
{
    int exponent = bits >> 7 & 255, fraction = bits & 127;
    double value = exponent ? ldexp(128 + fraction, exponent - 134) : ldexp(fraction, -133);
    if (exponent == 255) value = fraction ? NAN : INFINITY;
    return bits & 0x8000 ? -value : value;
}

static void every_small_number_is_kept(void **state)
{
    (void)state;
    static const struct {
        col_store_dtype dtype;
        double (*value)(uint16_t bits);
    } types[] = {{COL_STORE_F16, half_value}, {COL_STORE_BF16, bfloat_value}};
    static uint16_t all[65536];
    static float wide[65536];
    for (size_t i = 0; i < 65536; i++) all[i] = (uint16_t)i;
    for (size_t k = 0; k < COL_COUNT(types); k++) {
        col_weights_widen(types[k].dtype, all, 65536, wide);
        for (size_t i = 0; i < 65536; i++) {
            double want = types[k].value((uint16_t)i);
            if (isnan(want))
                assert_true(isnan(wide[i]));
            else
                assert_true((double)wide[i] == want && !signbit(wide[i]) == !(i & 0x8000));
        }
    }
}

static void resnet_has_two_spellings(void **state)
{
    (void)state;
    static const char *const names[][2] = {
        {"conv1.weight", "resnet.embedder.embedder.convolution.weight"},
        {"bn1.running_var", "resnet.embedder.embedder.normalization.running_var"},
        {"layer1.0.conv1.weight", "resnet.encoder.stages.0.layers.0.layer.0.convolution.weight"},
        {"layer3.22.bn3.bias", "resnet.encoder.stages.2.layers.22.layer.2.normalization.bias"},
        {"layer4.0.downsample.0.weight", "resnet.encoder.stages.3.layers.0.shortcut.convolution.weight"},
        {"layer2.0.downsample.1.running_mean",
         "resnet.encoder.stages.1.layers.0.shortcut.normalization.running_mean"},
        {"fc.bias", "classifier.1.bias"},
        {"layer0.0.conv1.weight", NULL},
        {"layer1.0.conv4.weight", NULL},
        {"layer1.x.conv1.weight", NULL},
        {"layer1.0", NULL},
        {"wte.weight", NULL},
    };
    col_arena *arena = col_arena_create();
    for (size_t i = 0; i < COL_COUNT(names); i++) {
        const char *name = col_weights_resnet_name(names[i][0], arena);
        assert_true(!name == !names[i][1]);
        if (name) assert_string_equal(name, names[i][1]);
    }
    col_arena_destroy(arena);
}

static const float ones[4] = {1, 1, 1, 1};
static const uint16_t halves[4] = {0x3c00, 0x3c00, 0x3c00, 0x3c00};
static const int64_t four[] = {4}, pair[] = {2, 2};
static const col_wanted_tensor wanted[] = {{"a.weight", COL_STORE_F32, 1, four},
                                           {"b.LayerNorm.bias", COL_STORE_F32, 2, pair}};

static col_status match(folder *f, const col_tensor_source *sources, size_t count, bool is_foreign)
{
    char *path = folder_file(f, "x.safetensors");
    col_safetensors *set = NULL;
    const col_stored_tensor *found[COL_COUNT(wanted)];
    col_arena *arena = col_arena_create();
    assert_ok(col_safetensors_write(path, sources, count, NULL, 0));
    assert_ok(col_safetensors_open(path, &set));
    col_weights_rule rule = {is_foreign, "Mend it"};
    col_status status = col_weights_match(set, "x", wanted, COL_COUNT(wanted), rule, arena, found);
    if (!status) {
        assert_string_equal(found[0]->name, sources[0].name);
        assert_string_equal(found[1]->name, sources[1].name);
    }
    col_safetensors_close(set);
    col_arena_destroy(arena);
    return status;
}

static void assert_refused(col_status status, const char *part)
{
    assert_int_equal(col_error_code(status), COL_BAD_INPUT);
    if (!strstr(col_error_message(status), part))
        fail_msg("'%s' lacks '%s'", col_error_message(status), part);
    col_error_free(status);
}

#define SOURCE(n, t, r, s, d)                                                                                \
    {                                                                                                        \
        .name = n, .dtype = COL_STORE_##t, .rank = r, .shape = s, .data = d                                  \
    }

static void other_names_and_types_are_for_foreign_files(void **state)
{
    const col_tensor_source foreign[] = {
        SOURCE("transformer.a.weight", F16, 1, four, halves), SOURCE("b.LayerNorm.beta", F32, 2, pair, ones),
        SOURCE("h.0.attn.bias", F32, 1, four, ones), SOURCE("lm_head.weight", F32, 2, pair, ones)};
    assert_ok(match(*state, foreign, 4, true));
    assert_refused(match(*state, foreign, 4, false),
                   "2 missing: 'a.weight' F32[4], 'b.LayerNorm.bias' F32[2, 2]; 4 that the model lacks: ");
    const col_tensor_source ours[] = {SOURCE("a.weight", F32, 1, four, ones),
                                      SOURCE("b.LayerNorm.bias", F32, 2, pair, ones)};
    assert_ok(match(*state, ours, 2, false));
}

static void faults_are_listed_together(void **state)
{
    static const int64_t halves_of_eight[] = {8};
    static const uint16_t eight[8] = {0};
    const col_tensor_source sources[] = {SOURCE("a.weight", BF16, 1, halves_of_eight, eight),
                                         SOURCE("lm_head.weight", F32, 2, pair, ones)};
    assert_refused(
        match(*state, sources, 2, true),
        "the tensors of 'x' are not those of the model: 1 missing: 'b.LayerNorm.bias' F32[2, 2]; 1 of "
        "another shape or type: 'a.weight' is BF16[8] and should be F32[4]; 1 that the model lacks: "
        "'lm_head.weight'. Mend it");
}

static void links_stay_in_the_folder(void **state)
{
    folder *f = *state;
    char *inside = folder_file(f, "hub"), *file = folder_file(f, "outside");
    col_arena *arena = col_arena_create();
    const char *snapshot = col_arena_printf(arena, "%s/snapshots/r", inside);
    const char *blobs = col_arena_printf(arena, "%s/blobs", inside),
               *blob = col_arena_printf(arena, "%s/b", blobs);
    const char *in = col_arena_printf(arena, "%s/in", snapshot),
               *out = col_arena_printf(arena, "%s/out", snapshot);
    assert_ok(col_make_folder(snapshot));
    assert_ok(col_make_folder(blobs));
    assert_ok(col_file_write(file, "x", 1));
    assert_ok(col_file_write(blob, "x", 1));
    assert_int_equal(symlink("../../blobs/b", in), 0);
    assert_int_equal(symlink(file, out), 0);
    assert_ok(col_weights_confine(snapshot, in));
    assert_ok(col_weights_confine(snapshot, "/no/such/file"));
    assert_refused(col_weights_confine(snapshot, out), "links to a file outside its folder");
    assert_refused(col_weights_confine(blobs, out), "links to a file outside its folder");
    col_arena_destroy(arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_small_number_is_kept),
        cmocka_unit_test(resnet_has_two_spellings),
        FOLDER_TEST(other_names_and_types_are_for_foreign_files),
        FOLDER_TEST(faults_are_listed_together),
        FOLDER_TEST(links_stay_in_the_folder),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
