module kgw.test/check

go 1.23
