# SPDX-License-Identifier: MIT
# ruff: noqa: E501  (the scripts)
"""Programs that read, as many as a system has, on a tree with everything in it: a remote tree is a local one to them."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Dict, Iterator

import pytest

from conftest import Same
from oracle import TIERS, Outcome, Server, difference, shell

SOURCES = {
    "code/Makefile": "all: main.o\n\tcc -o all main.o\nmain.o: main.c include/one.h\n\tcc -Iinclude -c main.c\n",
    "code/main.c": '#include "one.h"\n#include <stdio.h>\nint main(void) { return puts(ONE) < 0; }\n',
    "code/include/one.h": '#pragma once\n#include "sub/two.h"\n#define ONE TWO\n',
    "code/include/sub/two.h": '#define TWO "two"\n',
    "code/list.cmake": 'file(GLOB_RECURSE found RELATIVE ${WHERE} ${WHERE}/*.h)\nmessage("${found}")\n',
    "code/build.ninja": "rule cc\n  command = cc -c $in -o $out\nbuild main.o: cc main.c | include/one.h\n",
    "code/change.patch": "--- a/main.c\n+++ b/main.c\n@@ -1,2 +1,2 @@\n-#include \"one.h\"\n+#include \"two.h\"\n"
    " #include <stdio.h>\n",
    "code/macros.m4": "define(`twice', `$1 $1')dnl\ninclude(`more.m4')twice(word)\n",
    "code/more.m4": "included\n",
    "code/sum.bc": "scale=20\n4*a(1)\n",
    "code/pkg/__init__.py": "from . import inner\n",
    "code/pkg/inner.py": "import os\nVALUE = os.path.basename(__file__)\n",
    "code/module.js": "exports.value = 42;\n",
    "code/Mine.pm": "package Mine; sub value { 42 } 1;\n",
    "code/mine.lua": "return { value = 42 }\n",
    "data/table1": "".join(f"{i:05} one{i}\n" for i in range(0, 3000, 2)),
    "data/table2": "".join(f"{i:05} two{i}\n" for i in range(0, 3000, 3)),
    "data/words": "".join(f"{word}\n" for word in ("alpha", "beta", "betamax", "gamma", "omega")),
    "data/prose": ("The quick brown fox jumps over the lazy dog. " * 9 + "\n\n") * 40,
    "data/json": '{"list": [1, 2, {"deep": [null, true, "caf\\u00e9"]}]}\n',
    "data/xml": '<?xml version="1.0"?><root><item n="1">one</item></root>\n',
}


def make_everything(tree: Path) -> None:
    """With times of long ago, so that two looks at it agree."""
    chance = random.Random(11)
    for name, text in SOURCES.items():
        path = tree / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    (tree / "wide").mkdir()
    for i in range(10_000):
        os.close(os.open(tree / "wide" / f"entry{i:05}", os.O_CREAT, 0o644 if i % 3 else 0o600))
    deep = tree
    for i in range(100):
        deep = deep / f"level{i}"
    deep.mkdir(parents=True)
    (deep / "bottom").write_text("reached\n")
    odd = tree / "odd"
    odd.mkdir()
    for name in (b"with space", b"new\nline", b"caf\xe9 latin1", "ünïcode ☃".encode(), b"-dash", b'quo"te\'s', b"*", b"n" * 255):
        (odd / os.fsdecode(name)).write_bytes(name + b"\n")
    (odd / "empty").touch()
    (odd / "setuid").write_text("s")
    (odd / "setuid").chmod(0o6755)
    (odd / "sticky").mkdir()
    (odd / "sticky").chmod(0o1777)
    (odd / "closed").write_text("x")
    (odd / "closed").chmod(0)
    os.mkfifo(odd / "fifo")
    os.link(odd / "empty", odd / "hard")
    os.link(odd / "empty", tree / "data" / "harder")
    for name, to in {"file": "with space", "dir": "../wide", "dangling": "nowhere", "loop": "loop", "chain": "to-file",
                     "absolute": "/etc/hostname", "dot": ".", "slash": "../code/"}.items():
        (odd / f"to-{name}").symlink_to(to)
    with open(tree / "data" / "sparse", "wb") as big:  # 300 MB
        big.truncate(300_000_000)
        for at in (0, 99_999_999, 299_999_000):
            os.pwrite(big.fileno(), b"data" * 250, at)
    (tree / "data" / "random").write_bytes(chance.randbytes(700_001))
    for i, stamp in enumerate((0, 1, 1_000_000_000_000_000_001, 1_600_000_000_123_456_789, 2**31 * 10**9 + 5, 7 - 2**30 * 10**9)):
        path = tree / "times" / f"at{i}"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"t" * (i * 700))
        os.utime(path, ns=(stamp + i, stamp))
    for extra in (
        "setfattr -n user.colour -v 'dark blue' data/words",
        "setfattr -n user.binary -v 0x00ff0a data/words",
        "setfattr -n user.on.directory -v yes odd",
        "setfacl -m u:1:rw,g:2:r data/words; setfacl -d -m u:3:rwx odd/sticky; setfacl -m m::r odd/sticky",
        "cp /bin/true data/capable && setcap cap_net_raw,cap_net_bind_service+ep data/capable",
        "cd data && gzip -k prose && xz -k prose && bzip2 -k prose && zstd -q prose && openssl sha256 prose > sums",
        "tar -C code -cf data/tar . && tar -C code -czf data/tgz . && cd code && zip -qr ../data/zip .",
        "cd data && cc -g -c ../code/main.c -I../code/include && ar rc libmain.a main.o && cc -o program main.o && rm main.o",
        "cd data && sqlite3 db 'create table t(a,b); with recursive n(i) as (select 1 union all select i+1 from n "
        "where i<5000) insert into t select i, hex(i*i) from n; create index x on t(b)'",
        "cd code && find . -type f | cpio -o --quiet > ../data/cpio",
        "mkdir -p data/deb/DEBIAN && printf 'Package: p\\nVersion: 1\\nArchitecture: all\\nMaintainer: m\\nDescription: d\\n'"
        " > data/deb/DEBIAN/control && dpkg-deb -b data/deb data/deb.deb >/dev/null",
        "cp -r code repository && cd repository && export GIT_AUTHOR_DATE='@1000000009 +0000'"
        " GIT_COMMITTER_DATE='@1000000009 +0000'; git init -q . && git add -A"
        " && git -c user.name=a -c user.email=a@b commit -qm one && echo more >> main.c && git -c user.name=a -c user.email=a@b"
        " commit -qam two && git gc -q && echo dirty >> main.c && touch untracked",
        "perl -e 'use DB_File; tie %h, \"DB_File\", \"data/berkeley\"; $h{$_} = $_ * 2 for 1 .. 500'",
    ):
        subprocess.run(["bash", "-c", extra], cwd=tree, stderr=subprocess.DEVNULL)  # what isn't there, isn't in the tree
    assert not shutil.which("git") or (tree / "repository/.git/packed-refs").exists()
    for path in sorted(tree.rglob("*"), reverse=True):
        if path.parent.name not in ("times", "repository") and ".git" not in path.parts:
            os.utime(path, ns=(1_500_000_000_000_000_007,) * 2, follow_symlinks=False)


@pytest.fixture(scope="module")
def everything(tmp_path_factory: pytest.TempPathFactory) -> Path:
    tree = tmp_path_factory.mktemp("everything") / "tree"
    tree.mkdir()
    make_everything(tree)
    return tree


# One script a row.  It starts in an empty local directory.  `has PROGRAM…`: whether they are installed here.
PRELUDE = """
L=$(mktemp -d); trap 'rm -rf "$L"' EXIT; cd "$L"; export HOME=$L GIT_OPTIONAL_LOCKS=0 GIT_CONFIG_GLOBAL=$L/g; B={box}; T="$B/code $B/odd $B/data $B/times $B/repository"
has() { for each; do command -v "$each" >/dev/null || return 1; done; }
git config --global safe.directory '*' 2>/dev/null
"""

SCRIPTS = {
    "ls": r"""
ls -la $B/odd; ls -lt --full-time $B/times; ls -ltr $B/times; ls -ltu --time-style=full-iso $B/times; ls -ltc $B/times
ls -lS $B/data; ls -X $B/data; ls -v $B/wide | md5sum; ls -U $B/wide | sort | md5sum; ls -f $B/odd | sort
ls -1Q $B/odd; ls -b $B/odd; ls -m $B/odd; ls -F $B/odd; ls -p $B/odd; ls -C -w 70 $B/odd; ls -x -w 70 $B/odd; ls -s $B/data
ls -i $B/odd; ls -n $B/odd; ls -g $B/odd; ls -o $B/odd; ls -h -l $B/data; ls -Z $B/data; ls -lL $B/odd; ls -lH $B/odd/to-slash
ls -lR $T | md5sum; ls --color=always $B/odd $B/data; ls -d $B/*; ls -lT 4 --block-size=K $B/data; ls --zero $B/odd | md5sum
ls -l --hyperlink=never $B/odd/to-*; ls --group-directories-first $B; vdir $B/odd; dir $B/odd; ls -l --author $B/times""",
    "ls in every sort and format": r"""
for by in none size time version extension width name; do ls -l --full-time --sort=$by $B/odd $B/data $B/times; ls -r --sort=$by $B/data; ls --sort=$by $B/wide | { [ $by = none ] && sort || cat; } | md5sum; done
for by in atime ctime mtime birth; do ls -lt --time=$by --full-time $B/times; ls -t --time=$by $B/times; done; for by in full-iso long-iso iso locale +%s.%N; do ls -l --time-style=$by $B/times; done
for how in across commas horizontal long single-column verbose vertical; do ls -a --format=$how -w 90 $B/odd; done; for how in none slash file-type classify; do ls --indicator-style=$how $B/odd; done
for how in literal locale shell shell-always shell-escape shell-escape-always c escape; do ls -N --quoting-style=$how $B/odd; ls -l --quoting-style=$how $B/odd/to-*; done
ls -A $B/odd; ls -B $B/code; ls -I 'to-*' $B/odd; ls --hide='*a*' $B/odd; ls -q $B/odd; ls -lk $B/data; ls -l --si $B/data; ls -lD $B/code; ls -lG $B/odd; ls -ls --block-size=1 $B/data; ls -lS --dereference-command-line-symlink-to-dir $B/odd/to-*; ls -R $B/level0 | md5sum; ls -l $B/missing $B/odd/to-loop/ $B/data/words/""",
    "find": r"""
find $T -newer $B/times/at3 | sort; find $T -size +600k | sort; find $T -size 0 -type f | wc -l; find $T -perm -4000
find $T -perm /g+s,o+t | sort; find $T -samefile $B/odd/empty | sort; find $T -inum $(stat -c %i $B/data/words); find $T -xtype l
find $B/code -name '*.h' -exec head -1 {} +; find $B/code -type f -execdir pwd \; | sort -u; find $B -links +2 -type f | sort
find $B/code -name '*.c' -exec wc -l {} \;; find $B -maxdepth 1 -printf '%f %y %s %m %n %u %g %TY %Ts %b %k %Y %l\n' | sort
find -L $B/odd -maxdepth 1 -printf '%P %y %s\n' | sort; find -H $B/odd/to-slash | sort; find $T -ls | sort | md5sum
find $T -empty | md5sum; find $T -newermt 2033-01-01 | sort; find $T -type d -depth | head -3; find $B/level0 -name bottom -print0 | md5sum
find $B/odd -regex '.*/[cn].*' -print0 | sort -z | tr '\0' '|'; find $T -readable -name closed; find $T -executable -type f | sort
find $T $B/level0 -xdev -mindepth 99 | wc -c; find $B/odd -fstype nfs | wc -l; find $T -lname '*where'; find $B/data -prune -o -name main.c
for than in -newer -cnewer -anewer -neweram -newermc; do find $B/times -type f $than $B/times/at3 | sort | md5sum; done; for size in 0 1 -2 +1 5c 350w 2b +300k -1M +286M; do find $T -type f -size $size | sort | md5sum; done
for kind in f d l p; do find $T -xtype $kind | sort | md5sum; find -L $T -xtype $kind 2>&1 | sort | md5sum; done; for mode in 644 -444 /222 u=rwx,go=rx -u+s,g+s; do find $T -perm $mode | sort | md5sum; done; find -L $T -samefile $B/odd/with\ space 2>&1 | sort; find -P $T -inum +1 -links 3 | sort
find $B/odd -type f -exec stat -c '%n %s' {} + | sort; find $B/odd -maxdepth 1 -type f -execdir sh -c 'printf "%s " "$0"; wc -c < "$0"' {} \; | sort; find $B/level0 -name bottom -execdir pwd \; | md5sum; find $B/level0 -name bottom -execdir cat {} \; -execdir ls -l {} +; find $B/code -name 'm*' -exec false {} \; -o -name '*.h' -exec grep -q TWO {} \; -print | sort
find $T -printf '%H %P %h %f %i %D %F %Y %Z %b %G %k %M %S %U %T+ %C+\n' 2>&1 | sort | md5sum; find $T \( -nouser -o -nogroup -o -uid +0 \) | wc -l; find $B -path '*/level9/*' -prune -o -name 'level*' -print | wc -l
cd $B/code && find . -newer main.c; find -files0-from /dev/null; find $B/missing; find $B/odd/to-loop -follow""",
    "sizes": r"""
du -a --apparent-size $B/code $B/odd $B/data | sort -k2; du -s $B; du -sh --inodes $T; du -c -L $B/odd/to-slash | tail -1; du -d1 $T
du --time --time-style=full-iso -s $B/times; du -b $B/data/sparse; du -k $B/data/sparse; du -l $B/odd; df $B | wc -l
df --output=source,fstype,itotal,size,target $B | tail -1 | awk '{print $2, $3, $4}'; df -i $B | wc -l; stat -f -c '%i %l %s %S %t %T %b %c' $B
stat $B/odd/* | grep -v 'Access: [0-9]'; stat -L -c '%n %s %F' $B/odd/*; stat -t $B/times/*; stat -c '%N %A %B %d %f %o %t %T %w %W %y %z' $B/data/*
tree -a $B/odd; tree -pugs --inodes $B/code; tree -dL 2 $B/code; tree -J $B/code; tree -fi $B/code; tree -D $B/times
du -a --apparent-size $B | sort -k2 | md5sum; du -ab --exclude='level*' --max-depth=1 $B | sort -k2; du -0 $B/odd | tr '\0' '|'; du --files0-from=<(find $B/data -type f -print0 | sort -z); du -S -h $B/code; du -D $B/odd/to-slash; du -x -t 1M $B
df --output=source,fstype,itotal,size,target $B $B/odd/to-chain $B/data/sparse; df -P $B/wide | awk 'END {print $1, $2, $6}'; df -T $B/odd | awk 'END {print $1, $2, $3, $7}'; df $B/missing; stat -f -c '%n %T %i %S' $B/odd/* $B/odd/to-slash/; stat -f -t $B/data/words | cut -d' ' -f2-6
tree -aQ $B/odd; tree -N --du -h $B/data; tree -pugsDF --inodes $B/odd; tree -X $B/odd; tree -afx $B | md5sum; tree -l $B/odd | md5sum; tree -tr $B/times; tree --dirsfirst -P '*.h' --prune $B/code
test $B/times/at3 -nt $B/times/at2; echo $?; [ -u $B/odd/setuid -a -k $B/odd/sticky -a -L $B/odd/to-loop ]; echo $?
namei -l $B/odd/to-chain | tail -2; realpath $B/odd/to-*; readlink -f $B/odd/to-slash; pathchk $B/odd/*; basename $B/odd/to-dot""",
    "search": r"""
grep -r include $B/code | sort; grep -rl needle $B/code; grep -rIc '' $B/data --exclude=sparse | sort; grep -z dash $B/odd/* -s -D skip; grep -f $B/data/words $B/data/prose
grep -rn --include='*.h' define $T | sort; grep -L one $B/data/t*; grep -abo fox $B/data/prose | tail -1; zgrep -c fox $B/data/prose.gz
grep -r '' $B/odd $B/level0 -D skip | sort | md5sum; grep -rlE 'o|x' $B -D skip --exclude=sparse --exclude-dir=.git | sort | md5sum; grep -rsPo 'b\w+(?= )' $T -D skip --exclude=sparse | sort | md5sum; grep -rwn -A1 -B1 fox $B/data --include=prose | md5sum; grep -R -c include $B/odd/to-slash | sort; grep -U -c data $B/data/sparse
has rg && { rg -uuu --sort path -c 'o|x' $T $B/level0 -g '!sparse' | md5sum; rg -L --sort path -l include $B/odd; rg --files --sort modified $B/times; rg -uu --sort path --null -l '' $B/odd | tr '\0' '|'; rg -F -c -a datadata $B/data/sparse; rg --json -m1 fox $B/data/prose | grep -c match; rg -tpy -n --sort path import $B/code; }
has fdfind && { fdfind -uu . $B | sort | md5sum; fdfind -L -t f . $B/odd | sort; fdfind -0 -t e . $B/odd | sort -z | tr '\0' '|'; fdfind -l . $B/times; fdfind --changed-within 2000weeks . $B/data | sort; fdfind -g '*.[ch]' -X wc -c {} \; --base-directory $B/code | sort; fdfind -t x -t l . $T | sort | md5sum; }
has rg && { rg --sort path include $B/code; rg -c fox $B/data | sort; rg --files $B/odd | sort; rg -z -c fox $B/data/prose.gz; rg -l --no-mmap one $B/code | sort
rg --mmap -c fox $B/data/prose; rg --multiline -c 'dog. *\n' $B/data/prose; cd $B/code && rg -n two | sort; }
has fdfind && { fdfind . $B/odd | sort; fdfind -e h . $B/code | sort; fdfind -HI -t l . $B/odd | sort; fdfind -t f -S +600k . $B/data | sort; fdfind -x wc -c ';' . $B/code/include | sort; }
look beta $B/data/words; look -f GAM $B/data/words; has ctags && ctags -f - -R $B/code | grep -v '^!' | head -5""",
    "compare": r"""
diff -r $B/code $B/repository; diff -r $B/odd $B/odd; diff -u $B/data/table1 $B/data/table2 | md5sum; cmp $B/data/random $B/data/sparse
diff -rq $B/code $B/data; comm -12 $B/data/table1 $B/data/table2; comm $B/data/table1 $B/data/table2 | md5sum; join $B/data/table1 $B/data/table2 | md5sum
join -v1 $B/data/table1 $B/data/table2 | tail -1; sort -k2 $B/data/table1 | md5sum; sort -m $B/data/table? | md5sum; sort -c $B/data/words; sort -R --random-source=$B/data/random $B/data/words
sort -u --parallel=2 -S 1M $B/data/prose | tail -1; sort --files0-from=<(printf '%s\0' $B/data/table1 $B/data/table2) | tail -1; uniq -c $B/data/prose | head -2
paste $B/data/words $B/data/words; sdiff -w 60 $B/data/words $B/data/table1 | head -3; diff3 $B/data/words $B/data/words $B/data/table1 | head -3; cmp -l -n 9 $B/data/random $B/data/prose
shuf --random-source=$B/data/random $B/data/words; tsort $B/data/table1 | tail -1; nl $B/data/words; expand $B/code/Makefile; cat -A $B/code/Makefile; rev $B/data/words""",
    "archives out": r"""
tar cf a.tar -C $B --sort=name code odd times --xattrs --acls 2>&1; tar tvf a.tar | md5sum; tar -S -cf b.tar -C $B data/sparse; stat -c %s b.tar
tar tvf $B/data/tar; tar xzf $B/data/tgz -C . ./main.c -O; tar df $B/data/tar -C $B/code; tar --format=posix -cf - -C $B odd | md5sum
zip -qr z.zip $B/code && unzip -l z.zip | tail -1; unzip -l $B/data/zip; unzip -p $B/data/zip main.c; unzip -tq $B/data/zip; zipinfo $B/data/zip | tail -1
cpio -it --quiet < $B/data/cpio; cd $B/code && find . -type f | sort | cpio -o --quiet -H newc | wc -c; cpio -it --quiet -F $B/data/cpio | wc -l; ar t $B/data/libmain.a; ar p $B/data/libmain.a | wc -c
dpkg-deb -I $B/data/deb.deb; dpkg-deb -c $B/data/deb.deb | wc -l; gzip -t $B/data/prose.gz; gzip -l $B/data/prose.gz; zcat $B/data/prose.gz | md5sum; gzip -c $B/data/random | md5sum
xz -t $B/data/prose.xz; xz -l $B/data/prose.xz; xzcat $B/data/prose.xz | md5sum; bzip2 -t $B/data/prose.bz2; bzcat $B/data/prose.bz2 | wc; zstd -tq $B/data/prose.zst; zstdcat $B/data/prose.zst | wc""",
    "copies out": r"""
show() { (cd $1 && find . -printf '%p %y %m %s %T@ %n %l %u\n' | sort | md5sum; getfattr -R -d . 2>&1 | sort | md5sum; getfacl -R . 2>&1 | sort | md5sum); }
show $B/odd; show $B/code; has rsync && { rsync -aHAXS --exclude=sparse --exclude=wide $B/ whole/; show whole; rsync -aHAXnci --exclude=sparse --exclude=wide --delete $B/ whole/; diff -r --no-dereference -x sparse -x wide -x fifo -x .git $B whole; rm -rf whole; }
mkdir whole; cp -a $T $B/level0 whole; show whole/data; show whole/level0; show whole/repository; (cd whole && stat -c '%n %b' data/sparse); cmp $B/data/sparse whole/data/sparse; diff -rq --no-dereference -x fifo $B/data whole/data; diff -rq $B/level0 whole/level0; rm -rf whole
tar -cf - -S --sort=name --numeric-owner -C $B . | md5sum; tar -cf t.tar --xattrs --acls --selinux -C $B odd data/words data/capable times code level0; mkdir x; tar --warning=no-timestamp -xpf t.tar --xattrs --xattrs-include='*' --acls -C x; for each in odd times code level0; do show x/$each; done; zip -qryX z.zip $B/odd $B/level0 $B/times 2>&1; unzip -Z -T z.zip | awk '{print $1, $4, $NF}' | md5sum
has rsync && { rsync -aHAX $B/odd $B/code $B/times . ; show odd; show code; show times; rsync -an --delete -i $B/odd . ; }
mkdir c; cp -a $B/odd $B/code $B/times $B/data/words c; show c/odd; show c/code; show c/times; cp -r --no-preserve=mode $B/code d; diff -r d $B/code
rsync -acn -i $B/code/ c/code/; cp --sparse=always $B/data/sparse s && du -k s | cut -f1; cp -s $B/data/words sl; cp -u $B/data/words c/words; cp -L $B/odd/to-file .; ls -lL to-file | wc -c
install -m 640 $B/data/words i; stat -c '%a %s' i; cp $B/odd/to-dangling x; dd if=$B/data/random of=r bs=4k iflag=fullblock status=none; cmp r $B/data/random""",
    "text": r"""
awk 'END {print NR, FILENAME}' $B/data/prose; awk 'NR==FNR {a[$1]=$2; next} $1 in a {n++} END {print n}' $B/data/table1 $B/data/table2; gawk '{print FILENAME; nextfile}' $B/data/table?
sed -n '$p' $B/data/table1 $B/data/table2; sed -s -n '1p' $B/data/table?; perl -ne 'print "$ARGV $." if eof' $B/data/table1; perl -I$B/code -MMine -e 'print Mine::value(), -s "'$B/data/random'", -M _ > 0'
perl -e 'use DB_File; tie %h, "DB_File", "'$B/data/berkeley'", O_RDONLY or print "$!"; print scalar(keys %h), $h{77}'; perl -MFile::Find -e 'find({wanted => sub { $n++; $s += -s _ if lstat && -f _ }, no_chdir => 1}, @ARGV); find(sub { $m++ }, @ARGV); print "$n $m $s\n"' $T; perl -MCwd=realpath,getcwd -e 'opendir D, "'$B'/odd"; print join "|", map { -l "'$B'/odd/$_" ? "l" : -p _ ? "p" : -d _ ? "d" : -u _ ? "u" : "f" } sort readdir D; rewinddir D; print scalar(() = readdir D), realpath("'$B'/odd/to-slash"); chdir "'$B'/code/include"; print getcwd, -e "../main.c", (stat "sub")[3, 2], readlink "'$B'/odd/to-loop"'
perl -MPOSIX -e 'print join ",", sort grep /o/, map { s/.*\///r } glob "'$B'/odd/*"'
ed -s $B/data/words <<< $'2p\n$=\nq'; has m4 && m4 -I $B/code $B/code/macros.m4; bc -l $B/code/sum.bc < /dev/null; csplit -s $B/data/words /gamma/ && cat xx01; fmt -w 40 $B/data/prose | md5sum; pr -2 -t $B/data/words
ptx $B/data/words | md5sum; fold -w 9 $B/data/words; tac $B/data/table1 | head -1; split -l 900 $B/data/table1 && wc -l x*; cut -c2- $B/data/words; tr a-z A-Z < $B/data/words; head -qn1 $B/data/table*; tail -qn1 $B/data/table*
column -t $B/data/table1 | tail -1; wc $B/data/[^s]*; od -c $B/data/random | md5sum; hexdump -C $B/data/random | tail -1; xxd -l 32 $B/data/random; strings -n 9 $B/data/random; base64 $B/data/random | md5sum; numfmt --to=iec < <(stat -c %s $B/data/*)
less $B/data/words; less -F $B/data/words < /dev/null; more $B/data/words; vim -es -u NONE -i NONE -n -R +'%print' +q $B/data/words; patch --dry-run -d $B/code -p1 < $B/code/change.patch | grep -v read-only
has batcat && { batcat --color=never -p $B/code/main.c; batcat --color=always $B/data/json; }; jq -c .list $B/data/json; jq -n 'input.list[2]' $B/data/json; has xmllint && xmllint --xpath '//item' $B/data/xml; tail -c 5 $B/data/sparse; head -c 5 $B/data/sparse
has lua5.4 && lua5.4 -e "package.path='$B/code/?.lua'; print(require('mine').value); for l in io.lines('$B/data/words') do io.write(l) end"; has tclsh && echo "puts [lsort [glob $B/code/*]]; puts [file size $B/data/random]; source /dev/null" | tclsh""",
    "sums": r"""
cksum $B/data/[^s]*; sum $B/data/random; b2sum $B/data/random; md5sum $B/data/[^s]* ; sha512sum < $B/data/prose; openssl dgst -sha256 $B/data/random $B/data/words; openssl enc -base64 -in $B/data/words; (cd $B/data && sha256sum prose; shasum prose)
md5sum -c <(md5sum $B/data/words); xargs -a $B/data/words echo; find $B/code -type f -print0 | sort -z | xargs -0 -P4 -n1 md5sum | sort; cat $B/data/random | tee >(wc -c >&2) | md5sum; dd if=$B/data/random iflag=direct bs=4096 count=9 2>/dev/null | md5sum
dd if=$B/data/sparse bs=1M skip=95 count=2 2>/dev/null | md5sum; dd if=$B/data/random bs=1 skip=699990 2>/dev/null | xxd; dd if=$B/data/random iflag=skip_bytes,count_bytes skip=77 count=5 2>/dev/null | xxd; timeout 1 cat $B/odd/fifo; echo $?; cat $B/odd/closed; head -c 9 < $B/odd/setuid""",
    "binaries": r"""
file $B/odd/* $B/data/*; file -z $B/data/prose.gz; file -i $B/data/json; file -L $B/odd/to-*; readelf -aW $B/data/program | md5sum; nm $B/data/program | md5sum; nm $B/data/libmain.a; objdump -d $B/data/program | md5sum; size $B/data/program $B/data/libmain.a; addr2line -e $B/data/program 0
strings $B/data/program | md5sum; objcopy -O binary $B/data/program o && md5sum o; strip -o st $B/data/program && md5sum st; ld -o l -r $B/data/libmain.a && md5sum < l; gcc -o g -L$B/data -Wl,--whole-archive -lmain -Wl,--no-whole-archive && ./g; $B/data/program; getcap $B/data/* ; getcap -r $T
readelf -h -l -d -s --debug-dump=info $B/data/program | md5sum; nm -C --size-sort $B/data/program; nm -s $B/data/libmain.a; file -k $B/data/program; file -s $B/data/random; file -b --mime $B/data/*; find $B/data -type f | sort | file -f - | md5sum
has valgrind && { valgrind -q cat $B/data/words; valgrind -q --leak-check=full ls -l $B/data $B/odd | md5sum; }
c++filt < $B/data/words; elfedit --version | head -1; gdb -batch -nx -ex 'info line main' -ex 'list main' $B/data/program 2>&1; gdb -batch -nx -ex 'disassemble main' $B/data/program 2>&1; ranlib -t /dev/null; od -N4 -c $B/data/program""",
    "attributes": r"""
getfacl $B/data/words $B/odd/sticky; getfacl -t $B/data/words; getfattr -d $B/data/words; getfattr -d -m - $B/data/words $B/data/capable; getfattr -n user.colour --only-values $B/data/words; getfattr -R -d $T; getfattr -h -d $B/odd/to-file; getfattr -n user.none $B/data/words
getfacl -R $B/odd | md5sum; getfacl -n $B/odd/to-file; getfacl $B/odd/missing; ls -l $B/data/words; getcap -n $B/data/capable; python3 -c "import os; print(sorted(os.listxattr('$B/data/words')), os.getxattr('$B/data/words', 'user.binary'), os.stat('$B/times/at0').st_mtime_ns)"
mkdir $B/odd/sticky; echo x 2>/dev/null > $B/data/words/x; echo $?""",
    "ioctls": r"""
cat > i.py <<'E'
import errno, fcntl, os, sys, termios
requests = dict(FIONREAD=termios.FIONREAD, FIGETBSZ=2, GETFLAGS=0x80086601, GETVERSION=0x80087601, FSGETXATTR=0x801C581F,
                TCGETS=termios.TCGETS, FIONBIO=termios.FIONBIO,
                FIOCLEX=termios.FIOCLEX, FIONCLEX=termios.FIONCLEX, unknown=0x12345)
for name in ("data/words", "odd", "odd/fifo"):
    fd = os.open(sys.argv[1] + "/" + name, os.O_RDONLY | os.O_NONBLOCK)
    if name == "data/words":
        os.read(fd, 7)
    for request, number in requests.items():
        value = bytearray(32)
        try:
            print(name, request, fcntl.ioctl(fd, number, value), value.hex(), os.get_inheritable(fd),
                  fcntl.fcntl(fd, fcntl.F_GETFL) & os.O_NONBLOCK)
        except OSError as error:
            print(name, request, errno.errorcode[error.errno])
E
python3 i.py $B; lsattr -d $B/odd | cut -d' ' -f1; lsattr $B/code | cut -d' ' -f1""",
    "links of proc": r"""
cd $B/code; readlink /proc/self/cwd /proc/$$/cwd | sed "s#$B#B#"; ls -d /proc/self/cwd/; ls /proc/self/cwd/ /proc/$$/cwd/include | grep -v proc; exec 4< $B/code 5< $B/data/words
readlink /proc/self/fd/4 /proc/$$/fd/5 /proc/thread-self/fd/5 | sed "s#$B#B#"; cat /proc/self/fd/4/main.c /dev/fd/4/include/sub/../one.h; ls /dev/fd/4/ /proc/self/cwd/../odd
stat -c '%F %s' /proc/self/fd/5 /dev/fd/4/../data/words; stat -L -c '%F %s' /proc/self/fd/5 /proc/$$/fd/4/; md5sum < /dev/fd/5; cat /proc/$$/fd/5
cat /proc/self/fd/5/x /proc/self/fd/77/x; readlink /proc/self/fd/77; test -d /proc/self/fd/4; echo $?; test -d /proc/self/fd/5; echo $?; realpath /proc/self/fd/5 /proc/self/cwd/main.c | sed "s#$B#B#"; cd /; readlink /proc/self/cwd; pwd""",
    "repository": r"""
cd $B/repository; git log --stat; git status; git status --porcelain --ignored; git diff; git diff HEAD~1; git grep -n include; git fsck --full; git ls-files -s; git show HEAD:main.c; git blame -s main.c; git count-objects -v; git branch -a; git rev-list --all --objects; git cat-file -p HEAD
cd /; git -C $B/repository rev-parse --show-toplevel HEAD --git-dir; git -C $B/repository archive HEAD | tar t; git --git-dir=$B/repository/.git log --oneline -p | md5sum; git -C $B/repository describe --always; cd $L; git -C $B/repository log --oneline --graph --all -p -M -C --numstat | md5sum; git -C $B/repository diff --stat --summary HEAD~1 -- .; git -C $B/repository status -sb -uall --ignored; git -C $B/repository fsck --strict --unreachable --connectivity-only; git -C $B/repository grep -c -e TWO --and -e define HEAD~1; git -C $B/repository log -S more --format=%H; git -C $B/repository ls-files -o -m -t; git diff --no-index --stat $B/code $B/repository/include; git clone -q $B/repository cl && ls cl; git clone -q --no-hardlinks file://$B/repository c2; ls c2; git -C $B/repository/include/sub log --oneline -- . ; git -C $B/odd status; git -C $B/repository verify-pack -s .git/objects/pack/*.idx; git bundle verify $B/data/words; git -C $B/repository shortlog -s HEAD""",
    "building": r"""
cd $B/code; make -n; make -q; echo $?; ninja -n | sed 's/.*\[/[/'; ninja -t deps | head -2; gcc -fsyntax-only -Iinclude main.c; gcc -E -Iinclude main.c | grep -v '^#' | tail -1; gcc -MM -Iinclude main.c; cmake -DWHERE=$B/code -P list.cmake; cd $L
make -n -C $B/code -f Makefile; gcc -fsyntax-only -I$B/code/include $B/code/main.c; gcc -fsyntax-only $B/code/main.c; gcc -I$B/code/include -o p $B/code/main.c && ./p; g++ -x c++ -fsyntax-only -I $B/code/include $B/code/main.c; gcc -H -fsyntax-only -I$B/code/include $B/code/main.c 2>&1 | head -2; as -o a.o $B/code/change.patch 2>&1 | head -1; cpp -I$B/code/include $B/code/main.c | tail -1""",
    "python": r"""
cat > w.py <<'E'
import asyncio, bz2, csv, filecmp, fileinput, fnmatch, glob, gzip, hashlib, io, json, linecache, lzma, mmap, multiprocessing, os, pathlib, runpy, shutil, sqlite3, stat, subprocess, sys, tarfile, zipfile
sys.dont_write_bytecode = True
b = sys.argv[1]
sys.path.insert(0, b + "/code")
import pkg
print(pkg.inner.VALUE, sum(len(f) for _, _, f in os.walk(b)), sorted(glob.glob(b + "/code/**/*.h", recursive=True)), len(list(pathlib.Path(b + "/data").rglob("*"))))
with open(b + "/data/random", "rb") as f, mmap.mmap(f.fileno(), 0, prot=mmap.PROT_READ) as m: print(hashlib.md5(m).hexdigest(), m.find(b"\x00\x01"), m[-7:])
print(zipfile.ZipFile(b + "/data/zip.zip").testzip(), sorted(tarfile.open(b + "/data/tgz").getnames()), len(gzip.open(b + "/data/prose.gz").read()), len(lzma.open(b + "/data/prose.xz").read()), len(bz2.open(b + "/data/prose.bz2").read()))
print(sqlite3.connect(f"file:{b}/data/db?mode=ro", uri=True).execute("select count(*), max(b) from t where b > '5'").fetchall(), json.load(open(b + "/data/json")), linecache.getline(b + "/code/main.c", 3))
print(subprocess.run(["wc", "-l"], stdin=open(b + "/data/table1"), capture_output=True), subprocess.run("pwd", cwd=b + "/odd", capture_output=True).returncode, filecmp.cmp(b + "/code/main.c", b + "/repository/main.c", False))
def size(p): return os.path.getsize(p)
names = sorted(str(p) for p in pathlib.Path(b + "/code").rglob("*.*"))
with multiprocessing.Pool(3) as pool: print(sum(pool.map(size, names)))
async def many():
    return await asyncio.gather(*(asyncio.to_thread(lambda p=p: hashlib.md5(open(p, "rb").read()).hexdigest()) for p in names if os.path.isfile(p)))
print(asyncio.run(many()))
async def cat():
    p = await asyncio.create_subprocess_exec("cat", b + "/data/words", stdout=subprocess.PIPE)
    return await p.communicate()
print(asyncio.run(cat()), runpy.run_path(b + "/code/pkg/inner.py")["VALUE"], shutil.disk_usage(b).total, os.path.ismount(b + "/odd"), os.path.samefile(b + "/odd/empty", b + "/odd/hard"), pathlib.Path(b + "/odd/to-chain").resolve().name)
for e in sorted(os.scandir(b + "/odd"), key=lambda e: e.name): print(ascii(e.name), e.is_dir(), e.is_symlink(), e.inode(), e.stat(follow_symlinks=False).st_mode)
import importlib.util, zipimport
print([len(d) + len(f) for _, d, f in os.walk(os.fsencode(b) + b"/odd", topdown=False, followlinks=False)], sorted(map(ascii, os.listdir(os.fsencode(b + "/odd")))), len(glob.glob(b + "/wide/*")), len(glob.glob(glob.escape(b) + "/level0/**/bottom", recursive=True)), sorted(map(ascii, glob.glob(glob.escape(b) + "/odd/[a-z]*"))), sorted(p.name for p in pathlib.Path(b).glob("code/**/*.h")))
for access in (mmap.ACCESS_READ, mmap.ACCESS_COPY):
    with open(b + "/data/random", "rb") as f, mmap.mmap(f.fileno(), 100_000, access=access, offset=mmap.ALLOCATIONGRANULARITY) as m: print(hashlib.md5(m).hexdigest(), m.rfind(b"\x00\x02"), m[99_990:])
with open(b + "/data/sparse", "rb") as f, mmap.mmap(f.fileno(), 0, access=mmap.ACCESS_READ) as m: print(len(m), m[99_999_990:100_000_010], m[-5:], m[150_000_000:150_000_003], os.lseek(f.fileno(), 1, os.SEEK_DATA), os.lseek(f.fileno(), 0, os.SEEK_HOLE))
spec = importlib.util.spec_from_file_location("mine", b + "/code/pkg/inner.py"); mine = importlib.util.module_from_spec(spec); spec.loader.exec_module(mine); print(mine.VALUE, zipimport.zipimporter(b + "/data/zip.zip").get_source("pkg"))
print(sorted(os.fwalk(b + "/code"))[0][:3], shutil.which("program", path=b + "/data"), open(os.path.join(b, *[f"level{i}" for i in range(100)], "bottom")).read())
for p in ("/odd/to-loop", "/missing", "/odd/to-dangling", "/data/words/x", "/odd"):
    try: open(b + p)
    except OSError as e: print(e)
E
python3 w.py $B; python3 -m zipfile -l $B/data/zip.zip; python3 -m tarfile -l $B/data/tar; python3 -m json.tool $B/data/json; python3 -B $B/code/pkg/inner.py; cd $B/code; python3 -B -m pkg.inner; python3 -c 'import ast; print(len(ast.dump(ast.parse(open("pkg/inner.py").read()))))'""",
    "interpreters": r"""
has node && node -e "const fs=require('fs'), b='$B'; console.log(require(b+'/code/module.js').value, fs.readdirSync(b+'/odd').length, fs.statSync(b+'/data/random').size, fs.readFileSync(b+'/data/words','utf8'), fs.realpathSync(b+'/odd/to-chain').length>0, fs.existsSync(b+'/missing'), fs.lstatSync(b+'/odd/fifo').isFIFO(), fs.readlinkSync(b+'/odd/to-dir')); fs.createReadStream(b+'/data/random').on('data', d => n += d.length).on('end', () => { console.log(n); fs.promises.readdir(b+'/code',{withFileTypes:true}).then(l => console.log(l.map(e => e.name + e.isDirectory()).sort())) }); let n = 0; try { fs.readFileSync(b+'/odd') } catch (e) { console.log(e.code) }"
cat > m.mjs <<E
import fs from 'fs'; import path from 'path'; import { createRequire } from 'module'; const b = '$B';
console.log((await import(b + '/code/module.js')).default.value, createRequire(b + '/code/')('./module').value, fs.statSync(b + '/times/at3', { bigint: true }).mtimeNs, fs.readdirSync(b + '/wide').length, fs.readdirSync(Buffer.from(b + '/odd'), { encoding: 'buffer' }).map(n => n.toString('hex')).sort());
for await (const e of await fs.promises.opendir(b + '/code/include')) console.log(e.name, e.isFile()); const fd = fs.openSync(b + '/data/random'); const t = Buffer.alloc(9); fs.readSync(fd, t, 0, 9, 5); console.log(t, fs.fstatSync(fd).ino === fs.statSync(b + '/data/random').ino); fs.cpSync(b + '/code', 'cp', { recursive: true }); console.log(fs.readdirSync('cp').length);
for (const p of ['missing', 'odd/to-loop', 'data/words/x']) await fs.promises.readFile(path.join(b, p)).catch(e => console.log(e.code)); let n = 0; for await (const c of fs.createReadStream(b + '/data/random', { start: 99, end: 70000 })) n += c.length; console.log(n);
E
has node && node m.mjs; sqlite3 -readonly $B/data/db .dump | md5sum; sqlite3 -readonly $B/data/db .schema 'explain query plan select a from t where b > "F"' 'select a from t where b > "F" order by b desc limit 3' 'select group_concat(b) from (select b from t join t2 using (a))' 2>&1; sqlite3 -readonly -csv -header $B/data/db 'select x.a, y.b from t x join t y on x.b = y.b where x.a % 977 = 0' | md5sum
sqlite3 -readonly $B/data/db 'select count(*), sum(a) from t; select a from t where b="31"; pragma integrity_check'; sqlite3 "file:$B/data/db?immutable=1" 'select max(a) from t'; sqlite3 x.db "attach '$B/data/db' as o; select count(*) from o.t" '.mode csv' ".import $B/data/words w" 'select count(*) from w'
bash -c 'source <(cat '$B'/data/words | sed s/^/#/); shopt -s globstar; a=('$B'/code/**/*.h); echo ${#a[@]}; [[ -r '$B'/data/words ]]; echo $?; read x < '$B'/data/words; echo $x; while read -u 8 l; do echo $l; done 8<'$B'/data/words; exec 9<'$B'/odd; cd /dev/fd/9 2>/dev/null; echo done'
dash -c 'cd '$B'/code; for f in *; do [ -d $f ] && echo "$f"; done; . ./more.m4; read x < main.c; echo $x; pwd -P; cd include/sub; cd ../..; pwd' 2>&1; tcl=; sh -c "cd $B/odd && ls -d */ && cd to-dir && pwd && pwd -P && ls | wc -l"; awk 'BEGIN { while ((getline l < "'$B'/data/words") > 0) n++; print n; "wc -l < '$B'/data/words" | getline m; print m; print (getline < "'$B'/missing") }'
env -C $B/code ls; nice find $B/code -name main.c; timeout 9 wc -l $B/data/words; setsid -w head -1 $B/data/words; stdbuf -oL head -2 $B/data/words; script -qec "cat $B/data/words" /dev/null; flock -n $B/data/words echo locked; xargs -a $B/data/words -n1 printf '%s\n'; getconf NAME_MAX $B; getconf PATH_MAX $B/odd; mountpoint -q $B/odd; echo $?""",
}

LOADER = r"""
ldd $B/data/program $B/data/capable | sed 's/(0x.*//; /libremotec\|libdl\|libpthread/d'; ldd $B/data/words; echo $?
ld=$(readelf -l $B/data/program | sed -n 's/.*interpreter: \(.*\)]/\1/p'); $ld --verify $B/data/program; echo $?; $ld $B/data/program; $ld --verify $B/data/words; echo $?; $ld $B/missing"""

STATIC = r"""
for a in "ls -la $B/odd" "ls -1 $B/code" "find $B/code -type f" "du -s $B/code" "md5sum $B/data/random" "sha256sum $B/data/words" "cksum $B/data/words" "grep -rn include $B/code" "awk END{print(NR)} $B/data/prose" "sed -n 2p $B/data/words" "sort -r $B/data/words" "uniq -c $B/data/words" "tail -n 2 $B/data/table1" "od -c $B/data/words" "hexdump -C $B/data/words" "diff $B/data/words $B/data/table1" "cmp $B/data/words $B/data/random" "stat -c %s%a $B/odd/setuid" "readlink -f $B/odd/to-chain" "realpath $B/odd/to-dir" "tar tf $B/data/tar" "unzip -l $B/data/zip" "zcat $B/data/prose.gz" "xzcat $B/data/prose.xz" "cut -c1-3 $B/data/words" "nl $B/data/words" "tac $B/data/words" "fold -w 3 $B/data/words" "strings $B/data/program" "ar t $B/data/libmain.a" "expand $B/code/Makefile" "comm $B/data/table1 $B/data/table2" "paste $B/data/words $B/data/words" "split -l 99 $B/data/table1" "dd if=$B/data/random bs=999 count=3" "wc $B/data/prose" "xxd -l 9 $B/data/random" "cat $B/odd/missing" "ls $B/odd/to-loop/x" "sh -c cd\ $B/code;pwd;ls" "tree $B/code" "cp -a $B/code c" "base64 $B/data/words" "ed $B/data/words" "less $B/data/words" "bc $B/code/sum.bc" "shuf -n 0 $B/data/words" "cpio -t -F $B/data/cpio" "dpkg-deb -c $B/data/deb.deb" "test -s $B/data/words"; do
echo "== ${a%% *}"; busybox $a 2>&1 </dev/null | if [[ $a == find* || $a == "grep -rn"* ]]; then sort; else cat; fi | md5sum; done; ls -R c | md5sum"""


@pytest.fixture(scope="module")
def alike(everything: Path, servers: Dict[str, Server], tiers: Dict[str, str]) -> Iterator[Same]:
    """As `same`, on this tree, which has one path in both runs, so that sums of what is printed agree: it is elsewhere, and
    there is nothing local by that path, while a remote program runs.  The plain run is made once for each server: the
    tree doesn't change, but for times of access the first time."""

    @cache
    def plainly(script: str, mode: str) -> Outcome:
        away.rename(everything)
        try:
            plain = shell(PRELUDE + script, everything, timeout=300)
        finally:
            everything.rename(away)
        assert b"Traceback" not in plain.stderr and b"syntax error" not in plain.stderr, plain
        return plain

    def compare(script: str, tier: str, mode: str = "fast") -> None:
        if tiers[tier]:
            pytest.skip(f"no {tier} tier here: {tiers[tier]}")
        plain = plainly(script, mode)
        run = [sys.executable, "-m", "remotec", "run", "-s", servers[mode].address, "--tier", tier]
        remotely = [*run, "--remote", f"{everything}={away}", "--"]
        remote = shell((PRELUDE + script).replace("{box}", str(everything)), everything, remotely, timeout=300)
        assert remote == plain, difference(plain, remote)

    away = everything.with_name("away")
    everything.rename(away)
    yield compare


@pytest.mark.parametrize("tier", TIERS)
@pytest.mark.parametrize("name", SCRIPTS)
def test_a_program_sees_a_local_tree(alike: Same, name: str, tier: str) -> None:
    alike(SCRIPTS[name], tier)


@pytest.mark.parametrize("name", SCRIPTS)
def test_the_pure_python_server_serves_it(alike: Same, name: str) -> None:
    alike(SCRIPTS[name], "both", "pure")


@pytest.mark.parametrize("tier", TIERS[1:])
@pytest.mark.skipif(not shutil.which("busybox"), reason="no busybox")
def test_a_static_program_sees_it_too(alike: Same, tier: str) -> None:
    alike(STATIC, tier)


@pytest.mark.parametrize("tier", TIERS[1:])
def test_the_loader_as_a_program_sees_it_too(alike: Same, tier: str) -> None:
    """It's a static program to the preload tier, and so is what ldd does."""
    alike(LOADER, tier)
