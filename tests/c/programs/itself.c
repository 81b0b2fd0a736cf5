/* SPDX-License-Identifier: MIT
 *
 * What a program hears of itself, and whether the library beside it was found by $ORIGIN (compiled with LIBRARY it is that library).
 */
#include <stdio.h>
#include <unistd.h>

#ifdef LIBRARY
int beside(void)
{
	return 42;
}
#else
int beside(void);

int main(void)
{
	char name[64] = "", exe[4096] = "";
	FILE *comm = fopen("/proc/self/comm", "r");

	printf("%d %zd %s, %s", beside(), readlink("/proc/self/exe", exe, sizeof exe - 1), exe, fgets(name, sizeof name, comm));
	return 0;
}
#endif
