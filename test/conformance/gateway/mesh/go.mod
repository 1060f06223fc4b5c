module wherry.test/mesh

go 1.26.0
