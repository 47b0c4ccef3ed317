/* Arenas: everything of one compilation (or one pass, or one file being read) is allocated from one arena
 * and freed with it. Passed explicitly; there is no current arena. Memory is zeroed. Running out of address
 * space is an internal failure and aborts: sizes that a user can choose are checked before they get here, or
 * go through col_arena_try_alloc. Under AddressSanitizer the bytes between allocations are poisoned, so that
 * running over the end of one is found as it would be on the heap. */
#ifndef COL_BASE_ARENA_H
#define COL_BASE_ARENA_H

#include "ir/base/status.h"

/* Whether this is a build with AddressSanitizer (gcc's macro, clang's feature test). */
#if defined(__SANITIZE_ADDRESS__)
#define COL_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define COL_ASAN 1
#endif
#endif
#ifndef COL_ASAN
#define COL_ASAN 0
#endif

typedef struct col_arena col_arena;

/* An empty arena. It belongs to the caller; everything allocated from it goes with it. One thread at a time
 * may use it. */
col_arena *col_arena_create(void);
void col_arena_destroy(col_arena *arena); /* NULL is fine */

/* From now on `child`, which nobody owns but the caller, goes with `arena`. */
void col_arena_adopt(col_arena *arena, col_arena *child);

/* `size` zeroed bytes aligned for any type; never NULL (col_out_of_memory ends the process instead). Owned by
 * the arena. */
void *col_arena_alloc(col_arena *arena, size_t size);
/* The same, but NULL where the memory cannot be had: for sizes that come from a file or a flag. */
void *col_arena_try_alloc(col_arena *arena, size_t size);
/* `count` elements of `size` bytes; a product that overflows aborts like any other absurd size. */
void *col_arena_alloc_array(col_arena *arena, size_t count, size_t size);
/* Copies, texts with a NUL at their end. `strndup` takes exactly `size` bytes. */
void *col_arena_copy(col_arena *arena, const void *data, size_t size);
char *col_arena_strdup(col_arena *arena, const char *text);
char *col_arena_strndup(col_arena *arena, const char *text, size_t size);
char *col_arena_printf(col_arena *arena, const char *format, ...) COL_PRINTF(2, 3);
size_t col_arena_bytes(const col_arena *arena); /* bytes handed out so far */

#define COL_NEW(arena, type)          ((type *)col_arena_alloc(arena, sizeof(type)))
#define COL_NEW_ARRAY(arena, type, n) ((type *)col_arena_alloc_array(arena, (size_t)(n), sizeof(type)))

#endif
