/* Reads cases from stdin, walks over each in a buffer of exactly its size, and writes what is found.

   A case is four int32 in the machine's order (place, count, frame, size) and the bytes. */

#include <stdio.h>
#include <stdlib.h>

#include "_walk.h"

int main(void)
{
    int32_t head[4];

    while (fread(head, sizeof head, 1, stdin) == 1) {
        Found found = {0, INT64_MAX, INT64_MIN};
        unsigned char *data = malloc((size_t)head[3]);

        if (fread(data, 1, (size_t)head[3], stdin) != (size_t)head[3])
            return 2;
        if (walk_records(data + head[0], data + head[3], head[1], head[2], &found))
            printf("%d %lld %lld\n", found.flags, (long long)found.lowest, (long long)found.highest);
        else
            printf("-\n");
        free(data);
    }
    return 0;
}
