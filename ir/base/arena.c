#include "ir/base/arena.h"

#include <stdalign.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#if COL_ASAN
#include <sanitizer/asan_interface.h>
enum { GAP = alignof(max_align_t) }; /* poisoned bytes after each allocation */
#define POISON(at, size)   ASAN_POISON_MEMORY_REGION(at, size)
#define UNPOISON(at, size) ASAN_UNPOISON_MEMORY_REGION(at, size)
#else
enum { GAP = 0 };
#define POISON(at, size)   ((void)(at), (void)(size))
#define UNPOISON(at, size) ((void)(at), (void)(size))
#endif

enum { FIRST_BLOCK = 16 << 10, LARGEST_BLOCK = 4 << 20 };

typedef struct block {
    struct block *previous;
    size_t capacity;
    size_t used;
    alignas(max_align_t) unsigned char data[];
} block;

struct col_arena {
    block *last;
    size_t bytes;
    size_t next_capacity;
    col_arena *children, *sibling; /* that go with it; the next child of its owner */
};

col_arena *col_arena_create(void)
{
    col_arena *arena = calloc(1, sizeof *arena);
    if (!arena) col_out_of_memory(0);
    arena->next_capacity = FIRST_BLOCK;
    return arena;
}

void col_arena_destroy(col_arena *arena)
{
    if (!arena) return;
    for (block *b = arena->last; b;) {
        block *previous = b->previous;
        UNPOISON(b->data, b->capacity);
        free(b);
        b = previous;
    }
    for (col_arena *child = arena->children; child;) {
        col_arena *next = child->sibling;
        col_arena_destroy(child);
        child = next;
    }
    free(arena);
}

void col_arena_adopt(col_arena *arena, col_arena *child)
{
    COL_ASSERT(child != arena && !child->sibling);
    child->sibling = arena->children;
    arena->children = child;
}

void *col_arena_try_alloc(col_arena *arena, size_t size)
{
    size_t align = alignof(max_align_t), asked = size;
    if (size > SIZE_MAX / 2) return NULL;
    size = (size + align - 1) / align * align + GAP;
    if (!arena->last || arena->last->capacity - arena->last->used < size) {
        size_t capacity = COL_MAX(size, arena->next_capacity);
        block *b = calloc(1, sizeof *b + capacity);
        if (!b) return NULL;
        POISON(b->data, capacity);
        b->capacity = capacity;
        b->previous = arena->last;
        arena->last = b;
        arena->next_capacity = COL_MIN(arena->next_capacity * 2, (size_t)LARGEST_BLOCK);
    }
    void *result = arena->last->data + arena->last->used;
    UNPOISON(result, asked);
    arena->last->used += size;
    arena->bytes += size;
    return result;
}

void *col_arena_alloc(col_arena *arena, size_t size)
{
    void *result = col_arena_try_alloc(arena, size);
    if (!result) col_out_of_memory(size);
    return result;
}

void *col_arena_alloc_array(col_arena *arena, size_t count, size_t size)
{
    COL_ASSERT(!size || count <= SIZE_MAX / size);
    return col_arena_alloc(arena, count * size);
}

void *col_arena_copy(col_arena *arena, const void *data, size_t size)
{
    void *copy = col_arena_alloc(arena, size);
    if (size) memcpy(copy, data, size);
    return copy;
}

char *col_arena_strndup(col_arena *arena, const char *text, size_t size)
{
    char *copy = col_arena_alloc(arena, size + 1);
    if (size) memcpy(copy, text, size);
    return copy;
}

char *col_arena_strdup(col_arena *arena, const char *text)
{
    return col_arena_strndup(arena, text, strlen(text));
}

char *col_arena_printf(col_arena *arena, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    int size = vsnprintf(NULL, 0, format, args);
    va_end(args);
    COL_ASSERT(size >= 0);
    char *text = col_arena_alloc(arena, (size_t)size + 1);
    va_start(args, format);
    vsnprintf(text, (size_t)size + 1, format, args);
    va_end(args);
    return text;
}

size_t col_arena_bytes(const col_arena *arena)
{
    return arena->bytes;
}
