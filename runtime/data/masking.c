/* Each place of a sample has a block of four random words: whether it is chosen, what becomes of it, and the
 * random token. */
#include "runtime/data/masking.h"

#include "ir/base/philox.h"
#include "runtime/data/sampler.h"

static const uint32_t salt = 0x4D41534B; /* "MASK" */

void col_mask_tokens(const col_masking *m, uint32_t stream, uint64_t sample, size_t count, int32_t *ids,
                     int32_t *labels)
{
    for (size_t i = 0; i < count; i++) {
        uint64_t place = (sample >> 32) << 32 | (uint32_t)i;
        col_philox_block random = col_philox_stream(m->seed, (uint32_t)sample, salt + stream, place);
        const uint32_t *words = random.words;
        labels[i] = COL_LABEL_IGNORED;
        if (ids[i] == m->untouched || col_philox_uniform(words[0]) >= m->rate) continue;
        labels[i] = ids[i];
        float fate = col_philox_uniform(words[1]);
        if (fate < 0.8f)
            ids[i] = m->mask;
        else if (fate < 0.9f)
            ids[i] = (int32_t)((uint64_t)words[2] * (uint64_t)m->vocab >> 32);
    }
}
